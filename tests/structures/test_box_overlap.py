import numpy as np
import pytest
import torch

from mspn.structures.boxes import covered_share, giou, iou, to_xyxy

SQUARE = [0.0, 0.0, 2.0, 2.0]


@pytest.mark.parametrize("array", [np.array, torch.tensor])
@pytest.mark.parametrize(
    ("other", "expected_iou", "expected_giou"),
    [
        ([0.0, 0.0, 2.0, 2.0], 1.0, 1.0),
        # 2 of 6 cells are common; the smallest box around both has 6.
        ([1.0, 0.0, 3.0, 2.0], 2 / 6, 2 / 6),
        # 1 of 7 cells is common; the smallest box around both has 9, of which 2 belong to neither.
        ([1.0, 1.0, 3.0, 3.0], 1 / 7, 1 / 7 - 2 / 9),
        # Nothing in common; of the 12 cells around both, 4 belong to neither.
        ([4.0, 0.0, 6.0, 2.0], 0.0, -4 / 12),
        ([1.0, 1.0, 1.0, 1.0], 0.0, 0.0),
    ],
)
def test_iou_is_the_common_area_over_the_area_of_both(array, other, expected_iou, expected_giou):  # type: ignore[no-untyped-def]
    assert iou(array(SQUARE), array(other)).item() == pytest.approx(expected_iou)
    assert giou(array(SQUARE), array(other)).item() == pytest.approx(expected_giou)


@pytest.mark.parametrize("array", [np.array, torch.tensor])
def test_all_pairs_are_compared_by_broadcasting(array):  # type: ignore[no-untyped-def]
    boxes = array([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [9.0, 9.0, 10.0, 10.0]])

    overlaps = iou(boxes[:, None], boxes[None, :2])

    np.testing.assert_allclose(overlaps, [[1, 1 / 3], [1 / 3, 1], [0, 0]], atol=1e-6)


def test_a_box_is_covered_by_the_share_of_it_that_another_takes():
    child, adult = np.array([1.0, 0, 2, 2]), np.array([0.0, 0, 4, 4])

    assert covered_share(child, adult) == 1
    assert covered_share(adult, child) == 2 / 16
    assert covered_share(np.zeros(4), adult) == 0


def test_boxes_without_area_have_finite_gradients():
    point = torch.tensor([1.0, 1.0, 1.0, 1.0], requires_grad=True)

    giou(point, point.detach()).backward()

    assert iou(point, point.detach()).item() == 0
    assert torch.isfinite(point.grad).all()


def test_gradients_of_both_boxes_pull_them_together():
    # IoU of unit-high boxes 0..2 and 1..3 is 1/3; moving the second's left edge to the left widens the common part.
    left = torch.tensor([0.0, 0.0, 2.0, 1.0])
    right = torch.tensor([1.0, 0.0, 3.0, 1.0], requires_grad=True)

    iou(left, right).backward()

    # Common part c = 2 - x, union u = 2 + (3 - x) - c = 3: d(c / u)/dx = -1/3.
    assert right.grad[0].item() == pytest.approx(-1 / 3)


def test_corners_follow_from_the_top_left_point_and_the_size():
    assert to_xyxy([(1, 2, 10, 20)]).tolist() == [[1, 2, 11, 22]]
    assert to_xyxy([]).shape == (0, 4)
