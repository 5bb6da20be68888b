import numpy as np

from mspn.evaluation.diagnosis import Pair, describe_order, likely_orders, reorder
from mspn.structures.skeleton import COCO_17, LSP_14, unnamed_skeleton


def test_rows_are_put_in_order_three_numbers_at_a_time():
    (row,) = reorder([{"score": 0.5, "keypoints": [1, 2, 3, 4, 5, 6, 7, 8, 9]}], [2, 0, 1])

    assert row == {"score": 0.5, "keypoints": [7, 8, 9, 1, 2, 3, 4, 5, 6]}


def test_the_order_nearest_to_the_labels_is_found_though_some_were_never_labeled():
    # Results come as c, a, b, d. Nobody has b labeled, so it gets the place that is left.
    skeleton = unnamed_skeleton(4)
    labeled = np.array([[0, 0, 2], [0, 0, 0], [50, 90, 2], [90, 0, 1]])
    predicted = np.array([[51, 90], [1, 0], [30, 30], [90, 1]], float)

    orders = likely_orders(skeleton, [Pair(labeled, predicted), Pair(2 * labeled, 2 * predicted)])

    assert orders[-1] == [1, 2, 0, 3]


def test_openposes_order_is_tried_where_the_skeleton_has_its_keypoints():
    assert len(likely_orders(COCO_17, [])) == 3
    assert len(likely_orders(LSP_14, [])) == 2


def test_two_keypoints_in_each_others_place_are_both_named():
    order = [16, *range(1, 16), 0]

    text = describe_order(COCO_17, order)

    assert "in another order (nose is at index 16, right_ankle is at index 0): in the" in text
