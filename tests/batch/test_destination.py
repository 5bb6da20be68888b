import json
from pathlib import Path

import pytest
from pyarrow import parquet

pytest.importorskip("ray.data")

from mspn.batch.table import Counts, Destination, describe_image, make_table
from mspn.errors import FileError, InvalidValueError
from mspn.predict.pipeline import ImageResult
from mspn.sources.resolve import WHOLE, Shard


def _write(destination: Destination, name: str, *problems: str) -> None:
    folder = Path(destination.poses)
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(
        make_table([describe_image("a", None, ImageResult("a", None, [], list(problems)))]), folder / name
    )


def test_results_of_another_run_are_refused_kept_or_removed_as_is_asked(tmp_path: Path):
    destination = Destination(str(tmp_path / "out"))
    destination.prepare({"threshold": 0.3}, resume=True, overwrite=False)  # nothing is there yet
    _write(destination, "x-0.parquet")
    (tmp_path / "out/notes.txt").write_text("mine")

    with pytest.raises(InvalidValueError, match="already holds results; --resume goes on"):
        destination.prepare({"threshold": 0.3}, resume=False, overwrite=False)
    with pytest.raises(InvalidValueError, match=r"results of threshold 0.3, not of threshold 0.5"):
        destination.prepare({"threshold": 0.5}, resume=True, overwrite=False)
    destination.prepare({"threshold": 0.3}, resume=True, overwrite=False)
    assert destination.count() == Counts(1, 0, 0)

    destination.prepare({"threshold": 0.5}, resume=False, overwrite=True)

    assert destination.count() == Counts()
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_a_folder_of_that_name_that_no_run_has_written_is_left_alone(tmp_path: Path):
    destination = Destination(str(tmp_path))
    _write(destination, "mine.parquet")

    with pytest.raises(InvalidValueError, match="holds a folder poses that no run has written"):
        destination.prepare({}, resume=False, overwrite=True)
    assert destination.count().images == 1


def test_rows_that_were_cut_off_before_they_were_done_do_not_count(tmp_path: Path):
    destination = Destination(str(tmp_path))
    _write(destination, "one-0.parquet", "damaged")
    _write(destination, "two-0.parquet")
    Path(destination.done).mkdir(parents=True)
    (Path(destination.done) / "one.parquet").touch()
    (Path(destination.done) / "two.pending.parquet").touch()

    assert destination.count() == Counts(images=1, people=0, images_with_problems=1)


def test_shards_share_a_folder_and_nothing_in_it(tmp_path: Path):
    first, second = (Destination(str(tmp_path), Shard(number, 2)) for number in (1, 2))
    first.prepare({}, resume=False, overwrite=False)
    _write(first, "x-0.parquet")

    second.prepare({}, resume=False, overwrite=False)
    second.write_summary({"images": 0})

    assert (first.count().images, second.count().images) == (1, 0)
    assert json.loads((tmp_path / "summary-002-of-002.json").read_text()) == {"images": 0}
    # Readers of Parquet take the name of the folder for a column.
    assert parquet.read_table(tmp_path / "poses")["shard"].to_pylist() == ["001-of-002"]


@pytest.mark.parametrize(
    ("held", "own", "message"),
    [
        (Shard(2, 2), WHOLE, "2 shards; those of a whole run would"),
        (WHOLE, Shard(2, 2), "a whole run; those of 2 shards would"),
        (Shard(2, 2), Shard(2, 16), "2 shards; those of 16 shards would"),
    ],
)
@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, False), (False, True)])
def test_another_division_of_the_same_images_is_refused_and_nothing_removed(
    held: Shard, own: Shard, message: str, resume: bool, overwrite: bool, tmp_path: Path
):
    earlier = Destination(str(tmp_path), held)
    earlier.prepare({}, resume=False, overwrite=False)
    _write(earlier, "x-0.parquet")

    with pytest.raises(InvalidValueError, match=f"holds results of {message} .*choose another --out, or remove its"):
        Destination(str(tmp_path), own).prepare({}, resume=resume, overwrite=overwrite)
    assert earlier.count().images == 1


def test_other_things_beside_the_notes_of_runs_are_no_parts(tmp_path: Path):
    (tmp_path / "_progress" / "mine").mkdir(parents=True)

    Destination(str(tmp_path), Shard(2, 16)).prepare({}, resume=False, overwrite=False)

    assert sorted(path.name for path in (tmp_path / "_progress").iterdir()) == ["002-of-016", "mine"]


def test_a_note_of_settings_that_is_damaged_is_one_line(tmp_path: Path):
    destination = Destination(str(tmp_path))
    destination.prepare({}, resume=False, overwrite=False)
    (tmp_path / "_progress/whole/run.json").write_text("{")

    with pytest.raises(InvalidValueError, match=r"run.json does not say what was done"):
        destination.prepare({}, resume=True, overwrite=False)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(FileError, match=r"file/out: .*; check the address, its rights, and that there is room"):
        Destination(str(tmp_path / "file/out")).prepare({}, resume=False, overwrite=False)


def test_an_address_that_no_file_system_has_is_one_line():
    with pytest.raises(FileError, match=r"ftp://host/out is no address that can be used"):
        Destination("ftp://user:secret@host/out")
