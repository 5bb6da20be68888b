import numpy as np

from mspn.structures.boxes import count_votes, nms

# The first two share 80 of 120: 2/3. The third touches neither.
_CORNERS = np.array([[0.0, 0, 10, 10], [0, 2, 10, 12], [20, 20, 30, 30]])


def test_of_two_boxes_of_one_thing_the_better_stays():
    kept = nms(_CORNERS, np.array([0.5, 0.9, 0.1]), np.zeros(3, int), 0.6)

    assert kept.tolist() == [1, 2]


def test_boxes_that_overlap_less_stay_best_first():
    kept = nms(_CORNERS, np.array([0.5, 0.9, 0.1]), np.zeros(3, int), 0.7)

    assert kept.tolist() == [1, 0, 2]


def test_boxes_of_different_categories_do_not_compete():
    kept = nms(_CORNERS, np.array([0.5, 0.9, 0.1]), np.array([0, 1, 0]), 0.6)

    assert kept.tolist() == [1, 0, 2]


def test_no_boxes_are_no_boxes():
    assert nms(np.empty((0, 4)), np.empty(0), np.empty(0, int), 0.6).tolist() == []


def test_suppressed_boxes_move_and_support_the_one_that_was_kept():
    # IoU with the first: 1, 0.8 and 0.4; above the threshold of 0.5 by 0.5, 0.3 and nothing.
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4], [50, 50, 60, 60]])
    scores = np.array([0.8, 0.4, 0.9, 0.3])

    votes = count_votes(boxes, scores, np.array([0, 3]), 0.5)

    # 0.5 * 0.8 ** 2 = 0.32 and 0.3 * 0.4 ** 2 = 0.048, of 0.64 and 0.5 of its own.
    bottom = (0.32 * 10 + 0.048 * 8) / 0.368
    np.testing.assert_allclose(votes.boxes, [[0, 0, 10, bottom], [50, 50, 60, 60]])
    np.testing.assert_allclose(votes.support, [0.368 / 0.64, 0.5])


def test_a_box_without_area_or_score_stays():
    boxes = np.array([[5.0, 5, 5, 9], [0, 0, 4, 4]])

    votes = count_votes(boxes, np.array([0.9, 0.0]), np.array([0, 1]), 0.5)

    np.testing.assert_array_equal(votes.boxes, boxes)
    assert votes.support.tolist() == [0, 0]
