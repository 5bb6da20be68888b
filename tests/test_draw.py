import numpy as np

from mspn.draw import draw_poses
from mspn.records import Box, Pose
from mspn.skeleton import COCO_17


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


def test_a_lower_score_is_drawn_fainter_and_a_very_low_one_not_at_all():
    black = np.zeros((60, 60, 3), np.uint8)

    faint = draw_poses(black, [_pose(0.5)])

    assert faint[30, 30, 0] == 128
    assert draw_poses(black, [_pose(0.05)]).max() == 0


def test_keypoints_outside_the_picture_do_no_harm():
    drawn = draw_poses(np.zeros((60, 60, 3), np.uint8), [_pose(1.0, x=-500.0), _pose(1.0, x=1e6)])

    assert drawn.max() == 0
