import numpy as np

from mspn.draw import draw_labels, draw_poses
from mspn.records import Box, Pose
from mspn.skeleton import COCO_17, Skeleton


def _pose(score: float, x: float = 30.0) -> Pose:
    """A left forearm from (x, 20) to (x, 40); everything else has a score of 0."""
    keypoints = np.zeros((17, 2))
    scores = np.zeros(17)
    for name, y in (("left_elbow", 20.0), ("left_wrist", 40.0)):
        keypoints[COCO_17.keypoints.index(name)] = (x, y)
        scores[COCO_17.keypoints.index(name)] = score
    return Pose(COCO_17, keypoints, scores, score, score, Box(0, 0, 360, 360), 1.0)


def test_a_limb_is_drawn_between_its_keypoints_in_the_colour_of_its_side():
    black = np.zeros((60, 60, 3), np.uint8)

    drawn = draw_poses(black, [_pose(1.0)])

    assert drawn[30, 30].tolist() == [255, 120, 40]
    assert drawn[30, 45].tolist() == [0, 0, 0]
    assert black.max() == 0


def test_sides_are_those_of_the_skeleton_s_pairs_whatever_they_are_called():
    hand = Skeleton(name="hand", keypoints=("links", "rechts", "left_thumb"), pairs=(("links", "rechts"),))
    keypoints = np.array([[10, 30, 2], [30, 30, 2], [50, 30, 2]], float)

    drawn = draw_labels(np.zeros((60, 60, 3), np.uint8), hand, [keypoints], [None])

    assert [drawn[30, x].tolist() for x in (10, 30, 50)] == [[255, 120, 40], [40, 170, 255], [120, 230, 80]]


def test_a_lower_score_is_drawn_fainter_and_a_very_low_one_not_at_all():
    black = np.zeros((60, 60, 3), np.uint8)

    faint = draw_poses(black, [_pose(0.5)])

    assert faint[30, 30, 0] == 128
    assert draw_poses(black, [_pose(0.05)]).max() == 0


def test_keypoints_outside_the_picture_do_no_harm():
    drawn = draw_poses(np.zeros((60, 60, 3), np.uint8), [_pose(1.0, x=-500.0), _pose(1.0, x=1e6)])

    assert drawn.max() == 0


def _forearm(*visibility: float) -> np.ndarray:
    """Labels of a left forearm from (30, 10) to (30, 40)."""
    keypoints = np.zeros((17, 3))
    keypoints[COCO_17.keypoints.index("left_elbow")] = (30, 10, visibility[0])
    keypoints[COCO_17.keypoints.index("left_wrist")] = (30, 40, visibility[1])
    return keypoints


def test_visible_labels_are_discs_and_occluded_ones_rings_with_a_faint_limb():
    black = np.zeros((60, 60, 3), np.uint8)

    visible = draw_labels(black, COCO_17, [_forearm(2, 2)], [None])
    occluded = draw_labels(black, COCO_17, [_forearm(2, 1)], [None])

    assert visible[40, 30].tolist() == [255, 120, 40]
    assert occluded[40, 30].tolist() == [0, 0, 0]
    assert occluded[10, 30].tolist() == [255, 120, 40]
    assert occluded[40, 32, 0] > 100
    np.testing.assert_allclose(occluded[25, 30], 0.4 * visible[25, 30], atol=1)
    assert visible[25, 30, 0] > 200
    assert black.max() == 0


def test_what_is_unlabelled_or_at_no_position_is_not_drawn():
    lost = _forearm(2, 2)
    lost[:, 0] = np.nan

    drawn = draw_labels(np.zeros((60, 60, 3), np.uint8), COCO_17, [_forearm(0, 0), lost], [None, None])

    assert drawn.max() == 0


def test_a_labelled_box_is_drawn_unless_it_is_nowhere():
    black = np.zeros((60, 60, 3), np.uint8)

    drawn = draw_labels(black, COCO_17, [_forearm(0, 0)], [Box(10, 20, 30, 25)])
    nowhere = draw_labels(black, COCO_17, [_forearm(0, 0)], [Box(float("nan"), 20, 30, 25)])

    assert drawn[20, 25, 0] > 0
    assert drawn[45, 25, 0] > 0
    assert drawn[30, 25, 0] == 0
    assert nowhere.max() == 0
