"""NanoDet and NanoDet-Plus (github.com/RangiLyu/nanodet, Apache-2.0)."""

import numpy as np
from jaxtyping import Float

from mspn.detectors.letterbox import fit_inside, stretch_over
from mspn.detectors.onnx.layout import (
    Candidates,
    Layout,
    Outputs,
    are_shares,
    boxes_from_distances,
    candidates_of,
    grid,
)
from mspn.structures.boxes import Size

_MEAN = (103.53, 116.28, 123.675)
_DEVIATION = (57.375, 57.12, 58.395)
_STRIDES = (8, 16, 32)
_PLUS_STRIDES = (8, 16, 32, 64)
_BINS = (8, 11, 17)
"""Distances of 0 to 7, 10 or 16 strides, as the published settings have them."""
_IOU_THRESHOLD = 0.6


def _read_levels(outputs: Outputs, size: Size) -> Candidates | None:
    """Two outputs a level, in any order: scores (1, n, C) and distances (1, n, 4 x bins)."""
    if len(outputs) != 2 * len(_STRIDES):
        return None
    scores, sides = [], []
    for stride in _STRIDES:
        num_cells = len(grid(size, [stride], 0))
        level = [values[0] for values in outputs.values() if values.ndim == 3 and values.shape[1] == num_cells]
        level.sort(key=lambda values: not are_shares(values))
        if len(level) != 2 or not are_shares(level[0]) or level[1].shape[1] not in [4 * bins for bins in _BINS]:
            return None
        scores.append(level[0])
        sides.append(level[1])
    if len({level.shape[1] for level in scores}) > 1 or len({level.shape[1] for level in sides}) > 1:
        return None
    cells = grid(size, _STRIDES, 0.5)
    return _decode(np.concatenate(scores), np.concatenate(sides), cells)


def _read_one(outputs: Outputs, cells: Float[np.ndarray, "N 3"]) -> Candidates | None:
    """One output (1, N, C + 4 x bins): scores, then distances."""
    if len(outputs) != 1:
        return None
    (values,) = outputs.values()
    if values.ndim != 3 or values.shape[1] != len(cells):
        return None
    for bins in _BINS:
        scores, sides = values[0, :, : -4 * bins], values[0, :, -4 * bins :]
        if scores.shape[1] and are_shares(scores) and not are_shares(sides):
            return _decode(scores, sides, cells)
    return None


def _decode(
    scores: Float[np.ndarray, "N C"], sides: Float[np.ndarray, "N sides"], cells: Float[np.ndarray, "N 3"]
) -> Candidates:
    """Distances are the mean of a distribution over whole strides (Li et al., Generalized Focal Loss, 2020)."""
    logits = sides.reshape(len(sides), 4, -1)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    strides_away = (weights * np.arange(logits.shape[-1])).sum(-1) / weights.sum(-1)
    return candidates_of(boxes_from_distances(cells[:, :2], strides_away * cells[:, 2:]), scores)


NANODET = Layout(fit_inside, False, _MEAN, _DEVIATION, _read_levels, _IOU_THRESHOLD)
"""Version 0.x as its export wrote it at first: levels apart, distances from a cell's middle."""

NANODET_JOINED = Layout(
    fit_inside,
    False,
    _MEAN,
    _DEVIATION,
    lambda outputs, size: _read_one(outputs, grid(size, _STRIDES, 0.5)),
    _IOU_THRESHOLD,
)
"""The same in one output, as later versions 0.x wrote it."""

NANODET_PLUS = Layout(
    stretch_over,
    False,
    _MEAN,
    _DEVIATION,
    lambda outputs, size: _read_one(outputs, grid(size, _PLUS_STRIDES, 0.0)),
    _IOU_THRESHOLD,
)
"""Version 1: images stretched (its `keep_ratio: False`), four levels, distances from a cell's top left corner."""
