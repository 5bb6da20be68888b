from dataclasses import replace

import numpy as np

from mspn.structures.boxes import Box
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17, Skeleton
from mspn.visualize.draw import draw_box, draw_labels, draw_poses
from mspn.visualize.themes import THEMES


def _pose(score: float, x: float = 30.0) -> Pose:
    """A left forearm from (x, 20) to (x, 40); everything else has a score of 0."""
    keypoints = np.zeros((17, 2))
    scores = np.zeros(17)
    for name, y in (("left_elbow", 20.0), ("left_wrist", 40.0)):
        keypoints[COCO_17.keypoints.index(name)] = (x, y)
        scores[COCO_17.keypoints.index(name)] = score
    return Pose(COCO_17, keypoints, scores, score, score, Box(0, 0, 360, 360), 1.0)


def test_a_limb_is_drawn_between_its_keypoints_in_the_color_of_its_side():
    black = np.zeros((60, 60, 3), np.uint8)

    drawn = draw_poses(black, [_pose(1.0)])

    assert drawn[30, 30].tolist() == [255, 120, 40]
    assert drawn[30, 45].tolist() == [0, 0, 0]
    assert black.max() == 0


def test_sides_are_those_of_the_skeleton_s_pairs_whatever_they_are_called():
    hand = Skeleton(name="hand", keypoints=("links", "rechts", "left_thumb"), pairs=(("links", "rechts"),))
    keypoints = np.array([[10, 30, 2], [30, 30, 2], [50, 30, 2]], float)

    drawn = draw_labels(np.zeros((60, 60, 3), np.uint8), keypoints, hand, thickness=2)

    assert [drawn[30, x].tolist() for x in (10, 30, 50)] == [[255, 120, 40], [40, 170, 255], [120, 230, 80]]


def test_drawings_of_a_network_with_low_scores_are_seen():
    black = np.zeros((80, 80, 3), np.uint8)

    # Full strength at 0.35, drawn from 0.0583 on: 0.15 + 0.85 x 0.1017 / 0.2917 = 0.446.
    assert draw_poses(black, [_pose(0.16)])[30, 30, 0] == 114
    # Beside somebody whom the network is sure of: 0.15 + 0.85 x 0.06 / 0.5 = 0.252.
    assert draw_poses(black, [_pose(0.16), _pose(0.9, x=60)])[30, 30, 0] == 64


def test_a_theme_goes_by_its_name():
    black = np.zeros((80, 80, 3), np.uint8)

    by_name = draw_poses(black, [_pose(0.9)], "color-blind")

    np.testing.assert_array_equal(by_name, draw_poses(black, [_pose(0.9)], THEMES["color-blind"]))


def test_a_lower_score_is_drawn_fainter_and_a_very_low_one_not_at_all():
    black = np.zeros((60, 60, 3), np.uint8)

    faint = draw_poses(black, [_pose(0.35)])

    # Half way from 0.1, which has an opacity of 0.15, to 0.6, which has 1: 0.575 * 255 = 146.6.
    assert faint[30, 30, 0] == 147
    assert draw_poses(black, [_pose(0.6)])[30, 30, 0] == 255
    assert draw_poses(black, [_pose(0.05)]).max() == 0


def test_limbs_are_as_wide_as_the_person_is_large_and_no_wider_than_the_pose_allows():
    gray = np.full((900, 900, 3), 128, np.uint8)
    small, large = _pose(1.0, x=300.0), _pose(1.0, x=300.0)
    large.keypoints_image[COCO_17.keypoints.index("left_wrist")] = (300, 800)

    widths = [(draw_poses(gray, [pose])[30] == (255, 120, 40)).all(-1).sum() for pose in (small, large)]

    # The boxes are 360 high. One pose is 300 wide, 1.3 times which is more than its box: a line of 3.6 pixels ...
    assert 3 <= widths[0] <= 4
    assert 3 <= widths[1] <= 4
    # ... and a pose of 40 pixels in that box has lines as a person of 52 has them, of a pixel.
    assert (draw_poses(gray, [_pose(1.0)])[30] == (255, 120, 40)).all(-1).sum() <= 2


def test_lines_move_by_fractions_of_a_pixel():
    black = np.zeros((60, 60, 3), np.uint8)

    at, beside = (draw_poses(black, [_pose(1.0, x=x)])[30, :, 0].astype(float) for x in (30.0, 30.25))

    positions = np.arange(60)
    assert abs((beside @ positions) / beside.sum() - (at @ positions) / at.sum() - 0.25) < 0.1


def test_a_dark_outline_sets_limbs_off_from_a_bright_image():
    white = np.full((400, 400, 3), 255, np.uint8)
    pose = _pose(1.0, x=200.0)
    pose.keypoints_image[COCO_17.keypoints.index("left_wrist")] = (200, 300)

    row = draw_poses(white, [pose])[150]

    # A person of 360 has lines of 3.6 pixels, with 1.2 of half transparent black beside them: half of the white.
    assert 120 <= row[190:210, 0].min() <= 150
    assert row[200].tolist() == [255, 120, 40]
    assert row[190].tolist() == [255, 255, 255]


def test_people_have_colors_of_their_own_from_left_to_right():
    first, second = THEMES["people"].colors[:2]
    left = replace(_pose(0.7, x=20.0), box=Box(0, 0, 40, 60))
    right = replace(_pose(0.9, x=45.0), box=Box(30, 0, 40, 60))

    drawn = draw_poses(np.zeros((60, 60, 3), np.uint8), [right, left], THEMES["people"])

    assert (tuple(drawn[30, 20].tolist()), tuple(drawn[30, 45].tolist())) == (first, second)


def test_a_theme_may_darken_the_image():
    white = np.full((60, 60, 3), 200, np.uint8)

    drawn = draw_poses(white, [_pose(1.0)], THEMES["white-on-dark"])

    # 0.45 * 200
    assert drawn[30, 10].tolist() == [90, 90, 90]
    assert drawn[30, 30].tolist() == [255, 255, 255]


def test_boxes_are_drawn_when_asked_for():
    black = np.zeros((60, 60, 3), np.uint8)
    pose = replace(_pose(1.0), box=Box(5, 5, 50, 50))

    assert draw_poses(black, [pose])[30, 5].max() == 0
    assert draw_poses(black, [pose], with_boxes=True)[30, 5].min() > 100


def test_keypoints_outside_the_image_do_no_harm():
    drawn = draw_poses(np.zeros((60, 60, 3), np.uint8), [_pose(1.0, x=-500.0), _pose(1.0, x=1e6)])

    assert drawn.max() == 0


def _labels(*visibility: int, x: float = 30.0) -> np.ndarray:
    """Left elbow at (x, 20) and left wrist at (x, 40), as visible as said."""
    keypoints = np.zeros((17, 3))
    for name, y, seen in zip(("left_elbow", "left_wrist"), (20.0, 40.0), visibility, strict=True):
        keypoints[COCO_17.keypoints.index(name)] = (x, y, seen)
    return keypoints


def test_a_visible_label_is_a_disc_and_an_occluded_one_a_ring():
    black = np.zeros((60, 60, 3), np.uint8)

    drawn = draw_labels(black, _labels(2, 1), COCO_17, thickness=2)

    assert drawn[20, 30].tolist() == [255, 120, 40]
    assert drawn[40, 35].tolist() == [255, 120, 40]  # the radius is 5
    # Within the ring there is only the limb, faint since it has an occluded end: 0.45 * 255.
    assert drawn[40, 30, 0] == drawn[30, 30, 0] == 115
    assert black.max() == 0


def test_unlabeled_keypoints_and_those_far_outside_are_not_drawn():
    black = np.zeros((60, 60, 3), np.uint8)

    assert draw_labels(black, _labels(0, 0), COCO_17, thickness=2).max() == 0
    assert draw_labels(black, _labels(1, 1, x=1e12), COCO_17, thickness=2).max() == 0
    assert draw_labels(black, _labels(1, 2, x=np.nan), COCO_17, thickness=2).max() == 0


def test_a_labeled_box_is_drawn_unless_it_is_nowhere():
    black = np.zeros((60, 60, 3), np.uint8)

    drawn = draw_box(black, Box(10, 20, 30, 25))

    assert drawn[20, 25, 0] > 0
    assert drawn[45, 25, 0] > 0
    assert drawn[30, 25, 0] == 0
    assert draw_box(black, Box(np.nan, 20, 30, 25)).max() == 0
    assert draw_box(black, Box(10, 20, np.inf, 25)).max() == 0
