import json

import numpy as np
import pytest

from mspn.structures.boxes import Box, Size, check_box
from mspn.structures.pose import Pose, clothes_colors
from mspn.structures.skeleton import COCO_17, find_skeleton

IMAGE = Size(height=100, width=200)


def test_the_center_of_a_box_is_half_its_extent_from_its_corner():
    assert Box(left=10, top=20, width=30, height=50).center == (25, 45)


@pytest.mark.parametrize(
    "box", [Box(0, 0, 200, 100), Box(-30, -30, 31, 31), Box(199, 99, 50, 50)], ids=["whole", "top left", "bottom right"]
)
def test_a_box_that_touches_the_image_is_fine(box: Box):
    check_box(box, IMAGE)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_box_with_a_number_that_is_not_finite_is_refused(value: float):
    with pytest.raises(
        ValueError, match=rf"box \[0, {value}, 10, 10\] has a number that is not finite; write \[left, top,"
    ):
        check_box(Box(0, value, 10, 10), IMAGE)


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (-5, 10)])
def test_an_empty_box_is_refused(width: float, height: float):
    with pytest.raises(
        ValueError, match=rf"box \[1.5, 2, {width}, {height}\] is empty; width and height must be above 0 pixels"
    ):
        check_box(Box(1.5, 2, width, height), IMAGE)


@pytest.mark.parametrize("box", [Box(200, 0, 5, 5), Box(0, 100, 5, 5), Box(-5, 0, 5, 5), Box(0, -5, 5, 5)])
def test_a_box_beside_the_image_is_refused(box: Box):
    with pytest.raises(
        ValueError, match=r"lies outside the image of 200x100 pixels; write \[left, top, width, height\]"
    ):
        check_box(box, IMAGE)


POSE = Pose(
    skeleton=find_skeleton("unnamed-2"),
    keypoints_image=np.array([[1.5, 2.5], [3.004, 4.006]]),
    keypoint_scores=np.array([0.25, 0.756789]),
    score=0.80651,
    ranking_score=1.0,
    box=Box(12.4, 30, 79.6, 200),
    box_score=1.0,
)


def test_a_pose_lists_its_keypoints_by_name():
    assert POSE.keypoints == {"keypoint_0": (1.5, 2.5, 0.25), "keypoint_1": (3.004, 4.006, 0.756789)}


def test_a_keypoint_of_a_pose_is_looked_up_by_name():
    assert POSE["keypoint_1"].tolist() == [3.004, 4.006, 0.756789]


def test_a_keypoint_that_a_pose_does_not_have_is_refused_with_close_names():
    with pytest.raises(
        KeyError, match=r"no keypoint 'keypoint_2' in unnamed-2; did you mean keypoint_[01] or keypoint"
    ):
        POSE["keypoint_2"]
    with pytest.raises(KeyError, match="no keypoint 'xyz' in unnamed-2; it has keypoint_0, keypoint_1"):
        POSE["xyz"]


def test_the_bbox_of_a_pose_is_its_box():
    assert POSE.bbox == (12.4, 30, 79.6, 200)
    assert POSE.bbox == POSE.box


def test_a_pose_becomes_plain_rounded_numbers():
    assert POSE.to_dict() == {
        "box": [12.4, 30, 79.6, 200],
        "box_score": 1.0,
        "score": 0.8065,
        "keypoints": {"keypoint_0": [1.5, 2.5, 0.25], "keypoint_1": [3.0, 4.01, 0.7568]},
    }
    assert json.loads(json.dumps(POSE.to_dict())) == POSE.to_dict()


def test_a_pose_is_shown_in_one_short_line():
    assert repr(POSE) == "Pose(score=0.81, box=(12, 30, 80, 200), 2 keypoints of unnamed-2)"


def _dressed_person() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture, red above and blue below, the keypoints of somebody in it, and their scores."""
    picture = np.zeros((1, 200, 100, 3), np.uint8)
    picture[:, :95, :, 0], picture[:, 95:, :, 2] = 255, 255
    keypoints = np.full((1, 17, 2), -1000.0)
    keypoints[0, [5, 6, 11, 12, 13, 14]] = [(70, 20), (30, 20), (65, 90), (35, 90), (65, 170), (35, 170)]
    return picture, keypoints, np.full((1, 17), 0.9)


def test_clothes_have_the_colors_of_trunk_and_thighs():
    colors = clothes_colors(*_dressed_person(), COCO_17)

    # Red and blue of sRGB in CIELAB.
    np.testing.assert_allclose(colors, [[[53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]], atol=0.1)


def test_clothes_around_a_doubtful_keypoint_have_no_color():
    picture, keypoints, scores = _dressed_person()
    scores[0, 13] = 0.29

    (colors,) = clothes_colors(picture, keypoints, scores, COCO_17)

    assert np.isfinite(colors).all(1).tolist() == [True, False]


def test_a_skeleton_without_shoulders_has_no_clothes():
    picture, keypoints, scores = _dressed_person()

    assert np.isnan(clothes_colors(picture, keypoints[:, :2], scores[:, :2], find_skeleton("unnamed-2"))).all()
    assert clothes_colors(picture[:0], keypoints[:0], scores[:0], COCO_17).shape == (0, 2, 3)
