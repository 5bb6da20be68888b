from pathlib import Path

from typer.testing import CliRunner

from mspn.cli.app import app
from mspn.labels.formats.coco import read_coco
from tests.coco_files import person, write_annotations


def test_a_set_is_split_into_two_files_once(tmp_path: Path):
    rows = [person(number, number, {"nose": (1, 1, 2)}) for number in range(1, 11)]
    labels = write_annotations(tmp_path / "a.json", rows, {number: f"{number}.jpg" for number in range(1, 11)})
    command = ["data", "split", str(labels), "--out", str(tmp_path / "sets"), "--val", "0.2"]

    first, second = (CliRunner().invoke(app, command) for _ in range(2))

    assert first.exit_code == 0
    assert [len(read_coco(tmp_path / "sets" / name).people) for name in ("train.json", "val.json")] == [8, 2]
    assert second.exit_code == 2
    assert "train.json is there already; choose another --out" in second.output
