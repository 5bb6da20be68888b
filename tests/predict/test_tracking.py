import numpy as np
import pytest

from mspn.predict.tracking import BoxPropagator, propagate_box
from mspn.structures.boxes import Box, Size
from mspn.structures.pose import Pose
from mspn.structures.skeletons import COCO_17


def _pose(box: Box, *, right: float = 0, down: float = 0, scores: float = 0.9) -> Pose:
    """Keypoints on a slope from (10, 10) on, moved by so much."""
    keypoints = np.linspace((10, 10), (42, 90), 17) + np.array([right, down])
    return Pose(COCO_17, keypoints, np.full(17, scores), 0.5, 1.0, box, 0.7)


BOX = Box(5, 5, 40, 90)


def test_a_box_moves_by_the_median_of_the_keypoints():
    now = _pose(BOX, right=6, down=-2)
    now.keypoints_image[:3] += 500  # three wrong ones change nothing

    assert propagate_box(BOX, _pose(BOX), now) == pytest.approx(Box(11, 3, 40, 90))


def test_a_box_stays_where_hardly_any_keypoint_is_seen():
    assert propagate_box(BOX, _pose(BOX), _pose(BOX, right=6, scores=0.05)) == BOX


@pytest.mark.parametrize(("num_seen", "expected"), [(3, BOX), (4, Box(11, 5, 40, 90))])
def test_four_keypoints_seen_in_both_images_move_a_box(num_seen: int, expected: Box):
    now = _pose(BOX, right=6)
    now.keypoint_scores[num_seen:] = 0.09

    assert propagate_box(BOX, _pose(BOX, scores=0.1), now) == pytest.approx(expected)


def test_people_are_followed_from_image_to_image_with_the_score_of_their_box():
    people = BoxPropagator()
    size = Size(200, 200)

    people.reset([_pose(BOX)])
    (first,) = people.detections(size)
    people.update([_pose(first.box, right=10)])
    (second,) = people.detections(size)
    people.update([_pose(second.box, right=25)])
    (third,) = people.detections(size)

    assert (first.box, first.score) == (BOX, 0.7)
    assert second.box == pytest.approx(Box(15, 5, 40, 90))
    assert third.box == pytest.approx(Box(30, 5, 40, 90))


def test_people_are_known_by_boxes_that_are_nearly_equal():
    people = BoxPropagator()
    other = Box(7, 5, 40, 90)

    people.reset([_pose(BOX), _pose(other, right=2)])
    # As a resumed run reads them from single-precision numbers of a file.
    rounded = [Box(7.0000005, 5, 40, 90), Box(5.0000003, 5, 40, 90)]
    people.update([_pose(rounded[0], right=2 + 20), _pose(rounded[1], right=10)])

    first, second = people.detections(Size(200, 200))
    assert (first.box, second.box) == (Box(15, 5, 40, 90), Box(27, 5, 40, 90))


def test_two_people_in_equal_boxes_stay_two():
    people = BoxPropagator()

    people.reset([_pose(BOX), _pose(BOX)])
    people.update([_pose(BOX, right=10), _pose(BOX, right=10)])

    first, second = people.detections(Size(200, 200))
    assert first.box == second.box == Box(15, 5, 40, 90)


def test_who_leaves_the_image_or_has_no_pose_is_followed_no_longer():
    people = BoxPropagator()
    other = Box(100, 5, 40, 90)

    people.reset([_pose(BOX), _pose(other)])
    people.update([_pose(BOX, right=-60)])

    assert people.detections(Size(200, 200)) == []
