import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspn.errors import AnnotationError
from mspn.labels.formats.coco import read_coco, write_coco
from mspn.labels.formats.mpii import read_mpii, write_mpii
from mspn.structures.boxes import Box
from mspn.structures.skeleton import MPII_16
from tests.labels.label_sets import assert_same, two_people


def row(**changes: Any) -> dict[str, Any]:
    """Somebody of 300 pixels' height; the right ankle, the first, is not labeled."""
    return {
        "image": "a.jpg",
        "center": [401, 301],
        "scale": 1.5,
        "joints": [[-1, -1], *([101 + index, 201 + index] for index in range(1, 16))],
        "joints_vis": [0, *[1] * 15],
    } | changes


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_positions_are_counted_from_nought_and_the_box_is_the_released_codes(tmp_path: Path):
    labels = read_mpii(write(tmp_path / "mpii.json", row(), row(image="b.jpg"), row()))

    somebody = labels.people[0]
    assert labels.skeleton is MPII_16
    assert [(image.id, image.file_name) for image in labels.images] == [(1, "a.jpg"), (2, "b.jpg")]
    assert [person.image_id for person in labels.people] == [1, 2, 1]
    assert somebody.keypoints_image[:2].tolist() == [[0, 0, 0], [101, 201, 2]]
    # A square of 200 x 1.5 around (400, 300 + 15 x 1.5).
    assert somebody.box == Box(250, 172.5, 300, 300)


def test_people_of_the_test_set_have_no_keypoint(tmp_path: Path):
    unlabeled = {key: value for key, value in row().items() if not key.startswith("joints")}

    labels = read_mpii(write(tmp_path / "mpii.json", unlabeled))

    assert not labels.people[0].keypoints_image.any()


def test_without_a_center_there_is_no_box(tmp_path: Path):
    assert read_mpii(write(tmp_path / "mpii.json", row(center=[-1, -1]))).people[0].box is None


def test_reading_and_writing_loses_nothing(tmp_path: Path):
    path = write(tmp_path / "mpii.json", row(), row(image="b.jpg", center=[401.5, 301], torso=7))

    write_mpii(read_mpii(path), tmp_path / "written.json")

    assert json.loads((tmp_path / "written.json").read_text()) == json.loads(path.read_text())


def test_labels_pass_through_coco_without_loss(tmp_path: Path):
    labels = read_mpii(write(tmp_path / "mpii.json", row(), row(image="b.jpg")))

    write_coco(labels, tmp_path / "coco.json")
    write_mpii(read_coco(tmp_path / "coco.json"), tmp_path / "back.json")

    assert_same(read_mpii(tmp_path / "back.json"), labels)


def test_center_and_scale_of_others_follow_from_their_box(tmp_path: Path, caplog):
    labels = two_people(MPII_16, area=7.0)
    labels.people[0].keypoints_image[4, 2] = 1

    with caplog.at_level(logging.WARNING):
        write_mpii(labels, tmp_path / "mpii.json")
    first, second = read_mpii(tmp_path / "mpii.json").people

    # 40 x 80 pixels around (25.5, 50) become a square of 80; the second's, 41 x 60.25, one of 60.25.
    np.testing.assert_allclose(first.box, (-14.5, 10, 80, 80))
    np.testing.assert_allclose(second.box, (76 - 60.25 / 2, 11, 60.25, 60.25))
    np.testing.assert_array_equal(first.keypoints_image[:, :2], labels.people[0].keypoints_image[:, :2])
    assert "occluded keypoints are written as visible ones (1)" in caplog.text
    assert "areas of people are left out (2)" in caplog.text
    assert "boxes become squares of their longer side (2)" in caplog.text
    assert "images without people are left out, the format lists people (1)" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": [[1, 2]] * 15}, r"entry 1 has 15 joints and 16 joints_vis, not 16"),
        ({"scale": "large"}, r"1\.scale: Input should be a valid number.*; it must be MPII in HRNet's JSON"),
        ({"center": [1]}, r"1\.center\.1: Field required"),
        ({"joints": [[1, float("nan")]] * 16}, r"1\.joints\.0\.1: Input should be a finite number"),
    ],
)
def test_an_entry_of_another_form_is_named(changes: dict, message: str, tmp_path: Path):
    with pytest.raises(AnnotationError, match=rf"mpii\.json: {message}"):
        read_mpii(write(tmp_path / "mpii.json", row(), row(**changes)))
