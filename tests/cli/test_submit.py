import json
import zipfile
from pathlib import Path

import pytest

from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set
from tests.untrained import untrained_weights

NAME = "person_keypoints_val2017_tiny_results"


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Two images of two people each, with a COCO results list of their boxes and one of a chair."""
    annotations = write_drawn_set(tmp_path / "set", num_images=2, people_per_image=2)
    rows = json.loads(annotations.read_text())["annotations"]
    chair = {"image_id": 1, "category_id": 62, "bbox": [0, 0, 9, 9], "score": 0.1}
    (tmp_path / "set" / "boxes.json").write_text(json.dumps([*({**row, "score": 0.9} for row in rows), chair]))
    return tmp_path / "set"


def _options(drawn: Path) -> tuple[object, ...]:
    weights = untrained_weights(drawn)
    return ("submit", "--model", weights, "--annotations", drawn / "annotations.json", "--images", drawn / "images")


def test_submit_writes_the_zip_and_says_how_many_people_are_in_it(tmp_path: Path, drawn: Path):
    result = run(*_options(drawn), "--boxes", drawn / "boxes.json", "--out", tmp_path / f"{NAME}.zip")

    assert result.exit_code == 0, result.output
    assert f"{NAME}.zip (4 people)" in " ".join(result.stdout.split())
    with zipfile.ZipFile(tmp_path / f"{NAME}.zip") as archive:
        assert len(json.loads(archive.read(f"{NAME}.json"))) == 4


def test_a_name_that_the_server_does_not_take_is_refused_before_any_work(tmp_path: Path, drawn: Path):
    absent = ("submit", "--model", "no-such-model", "--annotations", "absent.json", "--images", drawn)

    line = error_line(run(*absent, "--boxes", drawn / "boxes.json", "--out", tmp_path / "a.zip"))

    assert "takes person_keypoints_SPLIT_NAME_results.zip" in line


def test_submit_needs_detected_boxes(tmp_path: Path, drawn: Path):
    result = run(*_options(drawn), "--out", tmp_path / f"{NAME}.zip")

    assert result.exit_code == 2
    assert "Missing option '--boxes'" in result.stderr
