"""RTMDet (github.com/open-mmlab/mmdetection, configs/rtmdet, Apache-2.0)."""

import numpy as np

from mspn.detectors.letterbox import fit_inside
from mspn.detectors.onnx.layout import Candidates, Layout, Outputs, boxes_from_distances, candidates_of, grid
from mspn.detectors.selection import MIN_SCORE
from mspn.structures.boxes import Size

_MEAN = (103.53, 116.28, 123.675)
_DEVIATION = (57.375, 57.12, 58.395)
_STRIDES = (8, 16, 32)


def _read_detections(outputs: Outputs, _size: Size) -> Candidates | None:
    """`dets` (1, N, 5), corners in input pixels and score, and `labels` (1, N), as MMDeploy writes them."""
    dets, labels = outputs.get("dets"), outputs.get("labels")
    if dets is None or labels is None or dets.ndim != 3 or dets.shape[2] != 5 or labels.shape != dets.shape[:2]:
        return None
    is_good = dets[0, :, 4] >= MIN_SCORE
    return Candidates(dets[0, is_good, :4], dets[0, is_good, 4], labels[0, is_good].astype(int), None)


def _read_levels(outputs: Outputs, size: Size) -> Candidates | None:
    """Scores before the sigmoid (1, C, h, w) and distances in input pixels (1, 4, h, w) of each level.

    Distances are from a cell's top left corner. Source: `RTMDetSepBNHead.forward`, `MlvlPointGenerator(offset=0)`.
    """
    if len(outputs) != 2 * len(_STRIDES) or any(values.ndim != 4 for values in outputs.values()):
        return None
    scores, distances = [], []
    for stride in _STRIDES:
        shape = (-(-size.height // stride), -(-size.width // stride))
        level = [values[0] for values in outputs.values() if values.shape[2:] == shape]
        level.sort(key=lambda values: len(values) == 4)  # stable: of two with four channels, scores come first
        if len(level) != 2 or len(level[1]) != 4:
            return None
        flat = [values.reshape(len(values), -1).T for values in level]
        scores.append(flat[0])
        distances.append(flat[1])
    if len({level.shape[1] for level in scores}) > 1:
        return None
    boxes = boxes_from_distances(grid(size, _STRIDES, 0)[:, :2], np.concatenate(distances))
    return candidates_of(boxes, 1 / (1 + np.exp(-np.concatenate(scores))))


RTMDET = Layout(fit_inside, False, _MEAN, _DEVIATION, _read_detections, None)
RTMDET_RAW = Layout(fit_inside, False, _MEAN, _DEVIATION, _read_levels, 0.65)
