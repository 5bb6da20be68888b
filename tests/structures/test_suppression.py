import numpy as np

from mspn.structures.boxes import nms

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
