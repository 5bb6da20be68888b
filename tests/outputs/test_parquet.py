import sys
from pathlib import Path

import pytest

from mspn.outputs.tables import ParquetWriter, list_keypoints
from tests.full_disk import full_disk
from tests.outputs.results import a_video, of_frame, of_image


def test_parquet_has_the_rows_of_the_table_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("mspn.outputs.tables._ROWS_PER_GROUP", 30)
    results = [of_image("a.jpg"), *(of_frame(a_video("match.mp4"), frame, frame / 25) for frame in (0, 1))]
    writer = ParquetWriter(tmp_path)

    for result in results:
        writer.write(result)
    assert list(tmp_path.glob("*.parquet")) == []
    writer.close()

    file = parquet.ParquetFile(tmp_path / "predictions.parquet")
    rows = file.read().to_pylist()
    assert rows == [row._asdict() for result in results for row in list_keypoints(result)]
    # Two images of 17 keypoints are more than 30 rows; the third stands alone.
    assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [34, 17]


def test_without_anybody_the_table_is_empty(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")

    ParquetWriter(tmp_path).close()

    assert parquet.read_table(tmp_path / "predictions.parquet").num_rows == 0


def test_a_full_disk_is_named(tmp_path: Path):
    pytest.importorskip("pyarrow")
    writer = ParquetWriter(tmp_path)
    writer.write(of_image("a.jpg"))

    with full_disk(500), pytest.raises(OSError, match=r"could not write .*predictions.parquet \(.*room on the disk"):
        writer.close()

    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ValueError, match=r"--save parquet needs pyarrow; pip install 'mspn\[parquet\]', or save csv"):
        ParquetWriter(tmp_path)
