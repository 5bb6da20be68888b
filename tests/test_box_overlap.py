import pytest
import torch

from mspn.box_overlap import overlap

SQUARE = torch.tensor([0.0, 0.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("other", "shared", "generalised"),
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
def test_overlap_is_the_common_area_over_all_area(other: list[float], shared: float, generalised: float):
    found = overlap(SQUARE, torch.tensor(other))

    assert found.shared.item() == pytest.approx(shared)
    assert found.generalised.item() == pytest.approx(generalised)


def test_overlaps_of_all_pairs_come_by_broadcasting():
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [9.0, 9.0, 10.0, 10.0]])

    shared = overlap(boxes[:, None], boxes[None, :2]).shared

    assert torch.allclose(shared, torch.tensor([[1, 1 / 3], [1 / 3, 1], [0, 0]]))


def test_boxes_without_area_have_finite_overlaps_and_gradients():
    point = torch.tensor([1.0, 1.0, 1.0, 1.0], requires_grad=True)

    found = overlap(point, point.detach())
    found.generalised.backward()

    assert found.shared.item() == 0
    assert torch.isfinite(point.grad).all()
