"""How much boxes overlap."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Overlap(NamedTuple):
    """Of two boxes, or of many pairs of them."""

    shared: Tensor
    """Intersection over union (IoU), 0 to 1."""
    generalised: Tensor
    """IoU less the share of the smallest box around both that neither covers, -1 to 1 (Rezatofighi et al., GIoU)."""


def overlap(first: Float[Tensor, "*N 4"], second: Float[Tensor, "*N 4"]) -> Overlap:
    """Overlap of boxes given by left, top, right and bottom; shapes are broadcast."""
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - intersection
    around = (torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])).prod(-1)
    shared = intersection / union.clamp(min=_SMALLEST_AREA)
    return Overlap(shared, shared - (around - union) / around.clamp(min=_SMALLEST_AREA))


_SMALLEST_AREA = 1e-6
"""Keeps boxes without area from being divided by."""


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
