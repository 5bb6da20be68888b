import json
from pathlib import Path

import numpy as np
import pytest

from mspn.config.data import PeopleSetConfig
from mspn.datasets.people import read_people_set
from mspn.structures.skeleton import COCO_17
from tests.cli.runner import error_line, run
from tests.trained import overfitted
from tests.untrained import untrained_weights

SWAPPED = 4
"""Somebody whose hips are wide, in the third image."""
BODY = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """The people whom the network has learned by heart, left and right of one of them swapped in the labels."""
    folder, _ = overfitted()
    content = json.loads((folder / "annotations.json").read_text())
    keypoints = np.reshape(content["annotations"][SWAPPED]["keypoints"], (17, 3))
    order = [
        COCO_17.mirror_order[index] if name.partition("_")[2] in BODY else index
        for index, name in enumerate(COCO_17.keypoints)
    ]
    content["annotations"][SWAPPED]["keypoints"] = keypoints[order].ravel().tolist()
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    (tmp_path / "images").mkdir()
    for image in (folder / "images").iterdir():
        (tmp_path / "images" / image.name).write_bytes(image.read_bytes())
    return tmp_path


def _review(folder: Path, out: Path):
    return run(
        *("data", "review", folder / "annotations.json", "--images", folder / "images", "--out", out),
        *("--model", overfitted()[1], "--device", "cpu", "--precision", "float32", "--no-flip"),
    )


def test_a_swapped_person_is_found_drawn_and_corrected_when_training_reads_the_set(drawn: Path):
    result = _review(drawn, drawn / "doubts")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 of 8 people: 1 with pairs to swap, 0 keypoints to leave out: ")
    assert [path.name for path in (drawn / "doubts" / "sheets").iterdir()] == ["swapped-001.jpg"]
    config = PeopleSetConfig(annotations="annotations.json", images="images", corrections="doubts/corrections.json")
    corrected = read_people_set(config, drawn, COCO_17)
    truth = read_people_set(PeopleSetConfig(annotations="annotations.json", images="images"), overfitted()[0], COCO_17)
    np.testing.assert_array_equal(corrected.keypoints_image, truth.keypoints_image)


def test_a_bad_image_is_reported_and_the_others_are_judged(drawn: Path):
    (drawn / "images" / "000000000002.png").write_text("no image")

    result = _review(drawn, drawn / "doubts")

    assert result.exit_code == 1
    assert "1 images or boxes could not be used" in result.stderr
    assert result.stdout.startswith("1 of 6 people")


def test_an_untrained_network_suspects_no_labels(drawn: Path):
    result = run(
        *("data", "review", drawn / "annotations.json", "--images", drawn / "images", "--out", drawn / "doubts"),
        *("--model", untrained_weights(drawn)),
    )

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("0 of 8 people")
    assert json.loads((drawn / "doubts" / "corrections.json").read_text())["people"] == {}


def test_corrections_that_are_there_are_not_overwritten(drawn: Path):
    (drawn / "corrections.json").write_text("gone through by hand")

    assert "corrections.json is there already, and may have been edited; choose another --out" in (
        error_line(_review(drawn, drawn))
    )
    assert (drawn / "corrections.json").read_text() == "gone through by hand"


def test_bad_input_is_refused_with_one_line(drawn: Path):
    assert "no folder of images at nowhere; --images must name it" in error_line(
        run("data", "review", drawn / "annotations.json", "--images", "nowhere", "--out", drawn / "out")
    )
    assert "no file at nowhere.json" in error_line(
        run("data", "review", "nowhere.json", "--images", drawn, "--out", drawn / "out")
    )
