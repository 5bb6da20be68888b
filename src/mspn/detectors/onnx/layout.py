"""Preprocessing and output formats, which the families of ONNX detectors share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mspn.detectors.letterbox import Letterbox
from mspn.detectors.selection import MIN_SCORE
from mspn.structures.boxes import Size

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
    """A candidate for every box and category with a score of at least `MIN_SCORE`."""
    boxes, categories = np.nonzero(scores >= MIN_SCORE)
    return Candidates(boxes_xyxy_input[boxes], scores[boxes, categories], categories, scores.shape[1])


def are_shares(values: np.ndarray) -> bool:
    """Whether all lie from 0 to 1, as scores do."""
    return bool(values.size and values.min() >= 0 and values.max() <= 1)
