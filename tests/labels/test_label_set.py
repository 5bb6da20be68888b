from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.errors import ImageError
from mspn.labels.label_set import LabeledImage, LabeledSet, box_around, category_of_set, with_sizes
from mspn.structures.boxes import Box, Size
from mspn.structures.skeleton import COCO_17, Skeleton


def test_the_box_around_keypoints_has_a_margin_of_a_tenth_of_its_longer_side():
    keypoints = np.array([[10, 20, 2], [30, 60, 1], [500, 500, 0]])

    # 20 x 40 pixels; what is unlabeled does not count.
    assert box_around(keypoints) == Box(6, 16, 28, 48)


@pytest.mark.parametrize("keypoints", [[[1, 2, 0]], [[1, 2, 2]], [[1, 2, 2], [1, 2, 2]]])
def test_keypoints_at_one_place_have_no_box(keypoints: list):
    assert box_around(np.array(keypoints, np.float64)) is None


def test_sizes_that_labels_do_not_say_come_from_the_images(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    images = [LabeledImage(1, "a.png"), LabeledImage(2, "gone.png", Size(5, 6))]

    labels = with_sizes(LabeledSet(COCO_17, images, []), tmp_path)

    assert [image.size for image in labels.images] == [Size(30, 40), Size(5, 6)]


def test_an_image_that_is_not_there_has_no_size(tmp_path: Path):
    labels = LabeledSet(COCO_17, [LabeledImage(1, "gone.png")], [])

    with pytest.raises(ImageError, match=r"no image at .*gone\.png; check the path"):
        with_sizes(labels, tmp_path)


def test_what_boxes_hold_is_what_the_labels_say_else_the_skeleton_else_unknown():
    kite = LabeledSet(Skeleton(name="kite", keypoints=("top",)), [], [])

    assert category_of_set(kite) == "object"
    assert category_of_set(replace(kite, category="toy")) == "toy"
    assert category_of_set(LabeledSet(COCO_17, [], [])) == "person"
