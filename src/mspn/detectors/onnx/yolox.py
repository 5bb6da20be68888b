"""YOLOX (github.com/Megvii-BaseDetection/YOLOX, Apache-2.0)."""

import numpy as np
from jaxtyping import Float

from mspn.detectors.letterbox import fit_inside
from mspn.detectors.onnx.layout import Candidates, Layout, Outputs, are_shares, boxes_from_centers, candidates_of, grid
from mspn.structures.boxes import Size

_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
_MAX_EXPONENT = 10.0
"""e^10 strides are larger than any input; more would overflow."""


def _read(outputs: Outputs, size: Size) -> Candidates | None:
    """One output (1, N, 4 + 1 + C): box, objectness, categories, the latter two from 0 to 1.

    Boxes are as the network gives them, or decoded to input pixels (the export's --decode_in_inference).
    """
    if len(outputs) != 1:
        return None
    (values,) = outputs.values()
    if values.ndim != 3 or values.shape[2] < 6:
        return None
    grids = [cells for strides in _STRIDES if len(cells := grid(size, strides, 0)) == values.shape[1]]
    if not grids:
        return None
    boxes, objectness, categories = np.split(values[0], [4, 5], axis=1)
    if not are_shares(values[0, :, 4:]) or are_shares(boxes):
        return None
    return candidates_of(boxes_from_centers(_in_pixels(boxes, grids[0])), objectness * categories)


def _in_pixels(boxes: Float[np.ndarray, "N 4"], cells: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 4"]:
    # Decoded boxes lie around their cells, raw ones around 0.
    if np.median(np.abs(boxes[:, :2] - cells[:, :2])) < np.median(np.abs(boxes[:, :2])):
        return boxes
    strides = cells[:, 2:]
    extent = np.exp(np.minimum(boxes[:, 2:], _MAX_EXPONENT)) * strides
    return np.concatenate([boxes[:, :2] * strides + cells[:, :2], extent], axis=1)


YOLOX = Layout(fit_inside, False, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), _read, 0.65)
"""Releases from 0.1.1 on; older ones scaled the pixels."""
