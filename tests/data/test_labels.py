from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.data.labels import LabelledPicture, LabelledSet, box_around, with_sizes
from mspn.images import PictureError
from mspn.records import Box, Size
from mspn.skeleton import COCO_17


def test_the_box_around_keypoints_has_a_margin_of_a_tenth_of_its_longer_side():
    keypoints = np.array([[10, 20, 2], [30, 60, 1], [500, 500, 0]])

    # 20 x 40 pixels; what is unlabelled does not count.
    assert box_around(keypoints) == Box(6, 16, 28, 48)


@pytest.mark.parametrize("keypoints", [[[1, 2, 0]], [[1, 2, 2]], [[1, 2, 2], [1, 2, 2]]])
def test_keypoints_at_one_place_have_no_box(keypoints: list):
    assert box_around(np.array(keypoints, np.float64)) is None


def test_sizes_that_labels_do_not_say_come_from_the_pictures(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    pictures = [LabelledPicture(1, "a.png"), LabelledPicture(2, "gone.png", Size(5, 6))]

    labels = with_sizes(LabelledSet(COCO_17, pictures, []), tmp_path)

    assert [picture.size for picture in labels.pictures] == [Size(30, 40), Size(5, 6)]


def test_a_picture_that_is_not_there_has_no_size(tmp_path: Path):
    labels = LabelledSet(COCO_17, [LabelledPicture(1, "gone.png")], [])

    with pytest.raises(PictureError, match=r"no picture at .*gone\.png; check the path"):
        with_sizes(labels, tmp_path)
