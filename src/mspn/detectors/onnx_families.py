"""Families of ONNX detectors: how each one's network takes images, and how its outputs are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mspn.detectors.base import MIN_SCORE, Letterbox, fit_inside, stretch_over
from mspn.structures.boxes import Size
from mspn.structures.shapes import Float, Int

Outputs = Mapping[str, np.ndarray]
"""Outputs of a network for one image, by name; the first axis is 1."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes that a network proposes."""

    boxes_xyxy_input: Float[np.ndarray, "N 4"]
    """Left, top, right, bottom in pixels of the network's input."""
    scores: Float[np.ndarray, " N"]
    """0 to 1."""
    categories: Int[np.ndarray, " N"]
    num_categories: int | None
    """None where the outputs do not say."""
    cells: Int[np.ndarray, " N"] | None = None
    """The cell of each box, counted level by level from fine to coarse, row by row; None where a network has none."""
    num_cells: int = 0


@dataclass(frozen=True)
class Layout:
    """One form in which a family's networks are published."""

    fit: Callable[[Size, Size], Letterbox]
    """From the sizes of the image and of the input."""
    is_rgb: bool
    """BGR otherwise."""
    mean: tuple[float, float, float]
    """Subtracted, on the scale of 0 to 255, in the input's order of channels."""
    deviation: tuple[float, float, float]
    """Divided by after that."""
    read: Callable[[Outputs, Size], Candidates | None]
    """From the outputs and the size of the input; None for outputs that are of another form."""
    iou_threshold: float | None
    """Highest IoU of two kept boxes; None if the network suppresses duplicates itself."""

    def prepare(self, canvas: np.ndarray) -> Float[np.ndarray, "1 3 h w"]:
        """The network's input, from an RGB letterbox."""
        ordered = canvas if self.is_rgb else canvas[..., ::-1]
        # Planes first: NumPy is many times slower where it broadcasts over three numbers.
        planes = np.ascontiguousarray(ordered.transpose(2, 0, 1)).astype(np.float32)
        planes -= np.array(self.mean, np.float32)[:, None, None]
        planes /= np.array(self.deviation, np.float32)[:, None, None]
        return planes[None]


def grid(size: Size, strides: Sequence[int], offset: float) -> Float[np.ndarray, "N 3"]:
    """(x, y, stride) of the cells of several levels, row by row: x = (column + offset) * stride."""
    levels = []
    for stride in strides:
        rows, columns = np.mgrid[: -(-size.height // stride), : -(-size.width // stride)].reshape(2, -1)
        x, y = (columns + offset) * stride, (rows + offset) * stride
        levels.append(np.column_stack([x, y, np.full(len(x), stride)]))
    return np.concatenate(levels).astype(np.float32)


def boxes_from_distances(
    points: Float[np.ndarray, "N 2"], distances: Float[np.ndarray, "N 4"]
) -> Float[np.ndarray, "N 4"]:
    """Boxes (left, top, right, bottom) from a point's distances to the left, top, right and bottom side."""
    return np.concatenate([points - distances[:, :2], points + distances[:, 2:]], axis=1)


def boxes_from_centers(centers: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
    """Boxes (left, top, right, bottom) from (x, y, width, height), with (x, y) the center."""
    half = centers[:, 2:] / 2
    return np.concatenate([centers[:, :2] - half, centers[:, :2] + half], axis=1)


def candidates_of(boxes_xyxy_input: Float[np.ndarray, "N 4"], scores: Float[np.ndarray, "N C"]) -> Candidates:
    """A candidate for every box, of one cell each, and category with a score of at least `MIN_SCORE`."""
    boxes, categories = np.nonzero(scores >= MIN_SCORE)
    return Candidates(
        boxes_xyxy_input[boxes], scores[boxes, categories], categories, scores.shape[1], boxes, len(scores)
    )


def are_shares(values: np.ndarray) -> bool:
    """Whether all lie from 0 to 1, as scores do."""
    return bool(values.size and values.min() >= 0 and values.max() <= 1)


# --- NanoDet and NanoDet-Plus (github.com/RangiLyu/nanodet, Apache-2.0) ---

_BGR_MEAN = (103.53, 116.28, 123.675)
_BGR_DEVIATION = (57.375, 57.12, 58.395)
_NANODET_STRIDES = (8, 16, 32)
_NANODET_PLUS_STRIDES = (8, 16, 32, 64)
_NANODET_BINS = (8, 11, 17)
"""Distances of 0 to 7, 10 or 16 strides, as the published settings have them."""
_NANODET_IOU_THRESHOLD = 0.6


def _read_nanodet_levels(outputs: Outputs, size: Size) -> Candidates | None:
    """Two outputs a level, in any order: scores (1, n, C) and distances (1, n, 4 x bins)."""
    if len(outputs) != 2 * len(_NANODET_STRIDES):
        return None
    scores, sides = [], []
    for stride in _NANODET_STRIDES:
        num_cells = len(grid(size, [stride], 0))
        level = [values[0] for values in outputs.values() if values.ndim == 3 and values.shape[1] == num_cells]
        level.sort(key=lambda values: not are_shares(values))
        if len(level) != 2 or not are_shares(level[0]) or level[1].shape[1] not in [4 * bins for bins in _NANODET_BINS]:
            return None
        scores.append(level[0])
        sides.append(level[1])
    if len({level.shape[1] for level in scores}) > 1 or len({level.shape[1] for level in sides}) > 1:
        return None
    cells = grid(size, _NANODET_STRIDES, 0.5)
    return _decode_nanodet(np.concatenate(scores), np.concatenate(sides), cells)


def _read_nanodet_joined(outputs: Outputs, cells: Float[np.ndarray, "N 3"]) -> Candidates | None:
    """One output (1, N, C + 4 x bins): scores, then distances."""
    if len(outputs) != 1:
        return None
    (values,) = outputs.values()
    if values.ndim != 3 or values.shape[1] != len(cells):
        return None
    for bins in _NANODET_BINS:
        scores, sides = values[0, :, : -4 * bins], values[0, :, -4 * bins :]
        if scores.shape[1] and are_shares(scores) and not are_shares(sides):
            return _decode_nanodet(scores, sides, cells)
    return None


def _decode_nanodet(
    scores: Float[np.ndarray, "N C"], sides: Float[np.ndarray, "N sides"], cells: Float[np.ndarray, "N 3"]
) -> Candidates:
    """Distances are the mean of a distribution over whole strides (Li et al., Generalized Focal Loss, 2020)."""
    logits = sides.reshape(len(sides), 4, -1)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    strides_away = (weights * np.arange(logits.shape[-1])).sum(-1) / weights.sum(-1)
    return candidates_of(boxes_from_distances(cells[:, :2], strides_away * cells[:, 2:]), scores)


NANODET = Layout(fit_inside, False, _BGR_MEAN, _BGR_DEVIATION, _read_nanodet_levels, _NANODET_IOU_THRESHOLD)
"""Version 0.x as its export wrote it at first: levels apart, distances from a cell's middle."""

NANODET_JOINED = Layout(
    fit_inside,
    False,
    _BGR_MEAN,
    _BGR_DEVIATION,
    lambda outputs, size: _read_nanodet_joined(outputs, grid(size, _NANODET_STRIDES, 0.5)),
    _NANODET_IOU_THRESHOLD,
)
"""The same in one output, as later versions 0.x wrote it."""

NANODET_PLUS = Layout(
    stretch_over,
    False,
    _BGR_MEAN,
    _BGR_DEVIATION,
    lambda outputs, size: _read_nanodet_joined(outputs, grid(size, _NANODET_PLUS_STRIDES, 0.0)),
    _NANODET_IOU_THRESHOLD,
)
"""Version 1: images stretched (its `keep_ratio: False`), four levels, distances from a cell's top left corner."""


# --- YOLOX (github.com/Megvii-BaseDetection/YOLOX, Apache-2.0) ---

_YOLOX_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
_MAX_EXPONENT = 10.0
"""e^10 strides are larger than any input; more would overflow."""


def _read_yolox(outputs: Outputs, size: Size) -> Candidates | None:
    """One output (1, N, 4 + 1 + C): box, objectness, categories, the latter two from 0 to 1.

    Boxes are as the network gives them, or decoded to input pixels (the export's --decode_in_inference).
    """
    if len(outputs) != 1:
        return None
    (values,) = outputs.values()
    if values.ndim != 3 or values.shape[2] < 6:
        return None
    grids = [cells for strides in _YOLOX_STRIDES if len(cells := grid(size, strides, 0)) == values.shape[1]]
    if not grids:
        return None
    boxes, objectness, categories = np.split(values[0], [4, 5], axis=1)
    if not are_shares(values[0, :, 4:]) or are_shares(boxes):
        return None
    return candidates_of(boxes_from_centers(_yolox_in_pixels(boxes, grids[0])), objectness * categories)


def _yolox_in_pixels(boxes: Float[np.ndarray, "N 4"], cells: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 4"]:
    # Decoded boxes lie around their cells, raw ones around 0.
    if np.median(np.abs(boxes[:, :2] - cells[:, :2])) < np.median(np.abs(boxes[:, :2])):
        return boxes
    strides = cells[:, 2:]
    extent = np.exp(np.minimum(boxes[:, 2:], _MAX_EXPONENT)) * strides
    return np.concatenate([boxes[:, :2] * strides + cells[:, :2], extent], axis=1)


YOLOX = Layout(fit_inside, False, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), _read_yolox, 0.65)
"""Releases from 0.1.1 on; older ones scaled the pixels."""


# --- RTMDet (github.com/open-mmlab/mmdetection, configs/rtmdet, Apache-2.0) ---

_RTMDET_STRIDES = (8, 16, 32)


def _read_rtmdet(outputs: Outputs, _size: Size) -> Candidates | None:
    """`dets` (1, N, 5), corners in input pixels and score, and `labels` (1, N), as MMDeploy writes them."""
    dets, labels = outputs.get("dets"), outputs.get("labels")
    if dets is None or labels is None or dets.ndim != 3 or dets.shape[2] != 5 or labels.shape != dets.shape[:2]:
        return None
    is_good = dets[0, :, 4] >= MIN_SCORE
    return Candidates(dets[0, is_good, :4], dets[0, is_good, 4], labels[0, is_good].astype(int), None)


def _read_rtmdet_levels(outputs: Outputs, size: Size) -> Candidates | None:
    """Scores before the sigmoid (1, C, h, w) and distances in input pixels (1, 4, h, w) of each level.

    Distances are from a cell's top left corner. Source: `RTMDetSepBNHead.forward`, `MlvlPointGenerator(offset=0)`.
    """
    if len(outputs) != 2 * len(_RTMDET_STRIDES) or any(values.ndim != 4 for values in outputs.values()):
        return None
    scores, distances = [], []
    for stride in _RTMDET_STRIDES:
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
    boxes = boxes_from_distances(grid(size, _RTMDET_STRIDES, 0)[:, :2], np.concatenate(distances))
    return candidates_of(boxes, 1 / (1 + np.exp(-np.concatenate(scores))))


RTMDET = Layout(fit_inside, False, _BGR_MEAN, _BGR_DEVIATION, _read_rtmdet, None)
RTMDET_RAW = Layout(fit_inside, False, _BGR_MEAN, _BGR_DEVIATION, _read_rtmdet_levels, 0.65)


# --- RT-DETR (github.com/lyuwenyu/RT-DETR) and D-FINE (github.com/Peterande/D-FINE), both Apache-2.0 ---


def _read_rtdetr(outputs: Outputs, _size: Size) -> Candidates | None:
    """`labels` (1, N), `boxes` (1, N, 4) and `scores` (1, N), as the authors of both export.

    Boxes are corners in pixels of the size that is given as `orig_target_sizes`: that of the input.
    """
    if set(outputs) != {"labels", "boxes", "scores"}:
        return None
    labels, boxes, scores = (outputs[name] for name in ("labels", "boxes", "scores"))
    if boxes.ndim != 3 or boxes.shape[2] != 4 or not labels.shape == scores.shape == boxes.shape[:2]:
        return None
    is_good = scores[0] >= MIN_SCORE
    return Candidates(boxes[0, is_good], scores[0, is_good], labels[0, is_good].astype(int), None)


def _read_rtdetr_queries(outputs: Outputs, size: Size) -> Candidates | None:
    """`logits` (1, N, C) and `pred_boxes` (1, N, 4), middles and extents from 0 to 1, as Hugging Face exports."""
    logits, boxes = outputs.get("logits"), outputs.get("pred_boxes")
    if logits is None or boxes is None or logits.ndim != 3 or boxes.shape != (*logits.shape[:2], 4):
        return None
    centers = boxes[0] * np.array([size.width, size.height] * 2, np.float32)
    return candidates_of(boxes_from_centers(centers), 1 / (1 + np.exp(-logits[0])))


RTDETR = Layout(stretch_over, True, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), _read_rtdetr, None)
RTDETR_QUERIES = Layout(stretch_over, True, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), _read_rtdetr_queries, None)


FAMILIES: Mapping[str, tuple[Layout, ...]] = {
    "nanodet": (NANODET, NANODET_JOINED, NANODET_PLUS),
    "yolox": (YOLOX,),
    "rtmdet": (RTMDET, RTMDET_RAW),
    "rtdetr": (RTDETR, RTDETR_QUERIES),
    "dfine": (RTDETR, RTDETR_QUERIES),
}
"""Layouts by the name of their family, see docs/detectors.md."""
