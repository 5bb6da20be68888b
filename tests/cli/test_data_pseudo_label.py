import json
from pathlib import Path

import pytest

from mspn.config.data import PeopleSetConfig
from mspn.datasets.people import read_people_set
from mspn.labels.formats.coco import read_coco
from mspn.structures.skeleton import COCO_17
from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set
from tests.untrained import untrained_weights


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photos with a person each, and their boxes."""
    write_drawn_set(tmp_path, num_images=2)
    return tmp_path / "images"


def label(photos: Path, *arguments: object, limit: float = 0.0):
    # An untrained network agrees with nobody: without limits all of its keypoints inside the image count.
    return run(
        *("data", "pseudo-label", photos, "--boxes", photos.parent / "annotations.json", "--teacher"),
        *(untrained_weights(photos.parent), "--out", photos.parent / "labels.json", "--agreement", limit),
        *("--min-score", 0, "--min-keypoints", 1, "--device", "cpu", "--precision", "float32", *arguments),
    )


def test_labels_are_a_set_that_training_takes(photos: Path):
    result = label(photos)

    assert result.exit_code == 0, result.output
    assert "labels.json: 2 people in 2 of 2 photos, " in result.stdout
    config = PeopleSetConfig(annotations="labels.json", images="images")
    people = read_people_set(config, photos.parent, COCO_17)
    # What is not labeled is not background either.
    assert ((people.keypoints_image[..., 2] == 2) == people.counted).all()


def test_a_run_that_ended_early_goes_on_and_others_are_refused(photos: Path):
    (photos / "000000000002.png").rename(photos.parent / "later.png")
    label(photos)
    (photos.parent / "later.png").rename(photos / "000000000002.png")

    refused = error_line(label(photos))
    other = error_line(label(photos, "--resume", limit=0.1))
    resumed = label(photos, "--resume")

    assert refused.endswith("labels.json is there already; choose another --out, or go on with --resume")
    assert other.endswith("was made with other teachers, boxes or limits; choose another --out")
    assert resumed.exit_code == 0, resumed.output
    labels = read_coco(photos.parent / "labels.json")
    assert [image.file_name for image in labels.images] == ["000000000001.png", "000000000002.png"]
    assert [(person.id, person.image_id) for person in labels.people] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_run_that_has_labeled_nobody_so_far_goes_on(photos: Path, *, is_readable: bool):
    (photos / "000000000002.png").rename(photos.parent / "later.png")
    if not is_readable:
        (photos / "000000000001.png").write_text("no image")
    # Nobody has 18 of 17 keypoints.
    label(photos, "--min-keypoints", 18)
    begun = json.loads((photos.parent / "labels.json").read_text())
    (photos.parent / "later.png").rename(photos / "000000000002.png")

    resumed = label(photos, "--min-keypoints", 18, "--resume")

    first = [{"id": 1, "file_name": "000000000001.png", "width": 120, "height": 160}] * is_readable
    assert (begun["images"], begun["annotations"]) == (first, [])
    assert resumed.exit_code == (0 if is_readable else 1), resumed.output
    content = json.loads((photos.parent / "labels.json").read_text())
    second = {"id": len(first) + 1, "file_name": "000000000002.png", "width": 120, "height": 160}
    assert content == begun | {"images": [*first, second]}


def test_a_photo_that_cannot_be_read_is_told(photos: Path):
    (photos / "000000000001.png").write_text("no image")

    result = label(photos)

    assert result.exit_code == 1
    assert result.stderr.count("skipped: ") == 1
    assert len(json.loads((photos.parent / "labels.json").read_text())["images"]) == 1


def test_a_folder_without_photos_and_a_teacher_that_is_not_there_are_refused(photos: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()

    assert "no photos in" in error_line(run("data", "pseudo-label", tmp_path / "empty", "--out", tmp_path / "a.json"))
    line = error_line(
        run("data", "pseudo-label", photos, "--teacher", tmp_path / "absent.onnx", "--out", tmp_path / "a.json")
    )
    assert "absent.onnx; check the path of the teacher" in line
