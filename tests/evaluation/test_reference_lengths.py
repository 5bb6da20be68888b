from dataclasses import replace

import pytest

from mspn.errors import AnnotationError
from mspn.evaluation.pck import has_torso, reference_lengths
from mspn.labels.formats.mpii import HEAD_BOX
from mspn.structures.skeleton import COCO_17, LSP_14, MPII_16, Skeleton
from tests.labels.label_sets import two_people


def test_a_head_is_six_tenths_of_its_boxs_diagonal():
    people = two_people(MPII_16, extra={HEAD_BOX: [11, 21, 41, 61]}).people

    # 30 x 40 pixels: a diagonal of 50.
    assert reference_lengths(people, MPII_16, "head").tolist() == pytest.approx([30, 30])


def test_missing_head_boxes_are_said_with_where_to_get_them():
    people = two_people(MPII_16, extra={HEAD_BOX: [11, 21, 41, 61]}).people

    with pytest.raises(
        AnnotationError, match=r"1 of 2 people have no head box, .*person 2\); .*give --head-boxes gt_valid\.mat"
    ):
        reference_lengths([people[0], replace(people[1], extra={})], MPII_16, "head")


def test_a_torso_goes_from_the_left_shoulder_to_the_right_hip():
    people = two_people(LSP_14).people
    people[0].keypoints_image[[9, 2], :2] = [[10, 20], [40, 60]]

    # The second one's right hip is not labeled.
    assert reference_lengths(people, LSP_14, "torso").tolist() == [50, 0]


def test_a_box_counts_with_its_longer_side_or_the_one_around_the_keypoints():
    first, second = two_people(LSP_14).people

    # 40 x 80 as labeled; 13 pixels from the first keypoint to the last, and a tenth on each side.
    lengths = reference_lengths([first, replace(first, box=None)], LSP_14, "box")

    assert lengths.tolist() == pytest.approx([80, 13 * 1.2])
    second.keypoints_image[:] = 0
    assert reference_lengths([replace(second, box=None)], LSP_14, "box").tolist() == [0]


def test_bodies_have_a_torso_and_hands_have_none():
    assert all(has_torso(skeleton) for skeleton in (COCO_17, LSP_14, MPII_16))
    assert not has_torso(Skeleton(name="hand", keypoints=("wrist", "thumb")))
