from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from mspn.errors import AnnotationError
from mspn.labels.formats.mpii import read_mpii_mat
from mspn.structures.boxes import Box
from mspn.structures.skeleton import MPII_16
from tests.labels.formats.mat_structs import struct_array

pytestmark = pytest.mark.usefixtures("mat_files_read_here")

NOTHING = np.array([])


def point(number: int, x: float, y: float, is_visible: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "id": number, "is_visible": is_visible}


def rect(*points: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Somebody of 300 pixels' height at (401, 301), counted from 1."""
    return {
        "x1": 10,
        "y1": 20,
        "x2": 30,
        "y2": 50,
        "annopoints": struct_array([{"point": struct_array(points)}]) if points else NOTHING,
        "scale": 1.5,
        "objpos": struct_array([{"x": 401, "y": 301}]),
    } | changes


def entry(name: str, *rects: dict[str, Any]) -> dict[str, Any]:
    return {
        "image": struct_array([{"name": name}]),
        "annorect": struct_array(rects) if rects else NOTHING,
    }


def write(path: Path, entries: list[dict[str, Any]], img_train: list[int]) -> Path:
    release = {"annolist": struct_array(entries), "img_train": np.array([img_train])}
    savemat(path, {"RELEASE": struct_array([release])})
    return path


def test_training_and_test_images_are_read_with_their_people(tmp_path: Path):
    # The head's points have no word on visibility; others say it as a number or as text.
    somebody = rect(point(9, 61, 21, NOTHING), point(0, 71, 91, 0), point(3, 81, 92, "1"), point(4, 82, 93, "0"))
    path = write(
        tmp_path / "mpii.mat", [entry("a.jpg", somebody, rect()), entry("b.jpg"), entry("c.jpg", rect())], [1, 1, 0]
    )

    labels = read_mpii_mat(path)

    assert labels.skeleton is MPII_16
    assert [(image.file_name, image.extra["img_train"]) for image in labels.images] == [
        *(("a.jpg", 1), ("b.jpg", 1), ("c.jpg", 0)),
    ]
    assert [person.image_id for person in labels.people] == [1, 1, 3]
    first = labels.people[0]
    labeled = {
        int(index): first.keypoints_image[index].tolist() for index in np.flatnonzero(first.keypoints_image[:, 2])
    }
    assert labeled == {9: [60, 20, 2], 0: [70, 90, 1], 3: [80, 91, 2], 4: [81, 92, 1]}
    # A square of 200 x 1.5 around (400, 300 + 15 x 1.5).
    assert first.box == Box(250, 172.5, 300, 300)
    assert first.extra == {"center": [401, 301], "scale": 1.5, "head_box": [10, 20, 30, 50]}
    assert not labels.people[1].keypoints_image.any()


def test_an_entry_that_says_nothing_is_nobody(tmp_path: Path):
    nothing = dict.fromkeys(rect(), NOTHING)

    assert read_mpii_mat(write(tmp_path / "mpii.mat", [entry("a.jpg", nothing), entry("b.jpg")], [1, 1])).people == []


def test_a_person_without_a_position_has_no_box(tmp_path: Path):
    path = write(tmp_path / "mpii.mat", [entry("a.jpg", rect(point(0, 5, 6, 1), objpos=NOTHING))], [1])

    (somebody,) = read_mpii_mat(path).people

    assert somebody.box is None
    assert somebody.keypoints_image[0].tolist() == [4, 5, 2]


@pytest.mark.parametrize(
    ("entries", "img_train", "message"),
    [
        ([entry("a.jpg")], [1, 0], r"RELEASE has 1 annolist and 2 img_train entries"),
        (
            [{"image": NOTHING, "annorect": NOTHING}],
            [1],
            r"annolist entry 1 has no image\.name; is it MPII",
        ),
        (
            [entry("a.jpg", rect(point(16, 5, 6, 1)))],
            [1],
            r"a\.jpg has a point without x and y, or whose id is",
        ),
        ([entry("a.jpg", rect(point(1, NOTHING, 6, 1)))], [1], r"a\.jpg has a point without x and y"),
    ],
    ids=["counts", "no name", "unknown point", "no position"],
)
def test_a_file_of_another_form_is_refused(entries: list, img_train: list[int], message: str, tmp_path: Path):
    with pytest.raises(AnnotationError, match=rf"mpii\.mat: {message}"):
        read_mpii_mat(write(tmp_path / "mpii.mat", entries, img_train))
