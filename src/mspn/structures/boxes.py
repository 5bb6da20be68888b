"""Sizes, boxes and detections; intersection over union (IoU) and non-maximum suppression (NMS)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np

from mspn.errors import InvalidValueError
from mspn.structures.shapes import Float, Int

Array = TypeVar("Array", bound=Any)
"""A NumPy array or a tensor."""


class Size(NamedTuple):
    """Height and width in pixels, height first.

    >>> Size(height=480, width=640)
    Size(height=480, width=640)
    """

    height: int
    width: int


class Box(NamedTuple):
    """An upright box in image pixels: the top-left corner, then the extent, as COCO writes it.

    >>> Box(left=10, top=20, width=30, height=50).center
    (25.0, 45.0)
    """

    left: float
    top: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the middle."""
        return self.left + self.width / 2, self.top + self.height / 2

    @classmethod
    def of_image(cls, size: Size) -> "Box":
        """The box of a whole image."""
        return cls(0.0, 0.0, float(size.width), float(size.height))


_MIN_SIDE = 0.1
_MAX_SHARE = 100


def check_box(box: Box, image: Size) -> None:
    """Refuse a box that no person can be cut out of.

    Raises:
        ValueError: if a number is not finite, a side is below a tenth of a pixel or a hundred times the image's, or
            the box does not touch the image.
    """
    if not all(math.isfinite(value) for value in box):
        raise InvalidValueError(
            f"box {_written(box)} has a number that is not finite; write [left, top, width, height] in pixels"
        )
    if min(box.width, box.height) < _MIN_SIDE:
        raise InvalidValueError(f"box {_written(box)} is empty; width and height must be above 0 pixels")
    if max(box.width / image.width, box.height / image.height) > _MAX_SHARE:
        raise InvalidValueError(
            f"box {_written(box)} is more than {_MAX_SHARE} times as large as the image of"
            f" {image.width}x{image.height} pixels; write [left, top, width, height] in pixels of this image"
        )
    outside = (
        box.left >= image.width or box.top >= image.height or box.left + box.width <= 0 or box.top + box.height <= 0
    )
    if outside:
        raise InvalidValueError(
            f"box {_written(box)} lies outside the image of {image.width}x{image.height} pixels;"
            " write [left, top, width, height] in pixels of this image"
        )


def _written(box: Box) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"


@dataclass(frozen=True)
class Detection:
    """A person that a detector found.

    >>> Detection(Box(12, 30, 80, 200), score=0.9).box.width
    80
    """

    box: Box
    score: float
    """0 to 1."""


_MIN_AREA = 1e-9
"""Keeps IoU of boxes without area from dividing by 0."""
_SMALLEST_TOTAL = float(np.finfo(np.float32).tiny)
_MAX_NMS_BOXES = 3000
"""NMS looks at this many boxes, those of the highest score."""


def to_xyxy(boxes: Sequence[Sequence[float]] | Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
    """(left, top, right, bottom) of boxes given as (left, top, width, height)."""
    table = np.array(boxes, np.float64).reshape(-1, 4)
    table[:, 2:] += table[:, :2]
    return table


def iou(first: Array, second: Array) -> Array:
    """Intersection over union, 0 to 1; 0 for boxes without area.

    Args:
        first: (..., 4) boxes as (left, top, right, bottom), a NumPy array or a tensor.
        second: of the same kind; shapes are broadcast, so that `iou(a[:, None], b)` compares every pair.
    """
    intersection, union = _intersection_and_union(first, second)
    overlap: Array = intersection / union.clip(min=_MIN_AREA)
    return overlap


def giou(first: Array, second: Array) -> Array:
    """Generalized IoU, -1 to 1: IoU less the share of the smallest box around both that neither covers.

    Arguments as those of `iou`. Source: Rezatofighi et al. 2019.
    """
    intersection, union = _intersection_and_union(first, second)
    hull = (first[..., 2:].clip(min=second[..., 2:]) - first[..., :2].clip(max=second[..., :2])).prod(-1)
    overlap: Array = intersection / union.clip(min=_MIN_AREA) - (hull - union) / hull.clip(min=_MIN_AREA)
    return overlap


def covered_share(first: Array, second: Array) -> Array:
    """Share of the first box's area that lies in the second, 0 to 1. Shapes as those of `iou`."""
    share: Array = _intersection(first, second) / _area(first).clip(min=_MIN_AREA)
    return share


def _intersection_and_union(first: Array, second: Array) -> tuple[Array, Array]:
    intersection = _intersection(first, second)
    return intersection, _area(first) + _area(second) - intersection


def _intersection(first: Array, second: Array) -> Array:
    # One coordinate at a time: NumPy takes three times as long for arrays whose last axis is two long.
    width = first[..., 2].clip(max=second[..., 2]) - first[..., 0].clip(min=second[..., 0])
    height = first[..., 3].clip(max=second[..., 3]) - first[..., 1].clip(min=second[..., 1])
    intersection: Array = width.clip(min=0) * height.clip(min=0)
    return intersection


def _area(boxes: Array) -> Array:
    area: Array = (boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(-1)
    return area


VOTE_POWER = 2
"""Of the scores of boxes that vote."""


class Votes(NamedTuple):
    """What the boxes that suppression leaves out say of those that it keeps."""

    boxes: Float[np.ndarray, "kept 4"]
    """Each the mean of itself and of those that it suppresses."""
    support: Float[np.ndarray, " kept"]
    """Sum of their votes, as parts of what a box of the same score and place would have at a threshold of 0."""


def count_votes(
    boxes: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    kept: Int[np.ndarray, " kept"],
    iou_threshold: float,
) -> Votes:
    """Let boxes vote on those that suppression kept: by the squares of their scores, and their IoU above the threshold.

    Args:
        boxes: left, top, right, bottom.
        scores: of the boxes.
        kept: indices that `nms` gave.
        iou_threshold: that it had.

    Source: Gidaris and Komodakis, ICCV 2015, for the mean, where all votes above the threshold count by their scores.
    """
    weights = scores**VOTE_POWER * (iou(boxes[kept][:, None], boxes) - iou_threshold).clip(min=0)
    total = weights.sum(1)
    means = weights @ boxes / total[:, None].clip(min=_SMALLEST_TOTAL)
    own = scores[kept] ** VOTE_POWER
    return Votes(np.where(total[:, None] > 0, means, boxes[kept]), total / own.clip(min=_SMALLEST_TOTAL))


def nms(
    boxes: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    categories: Int[np.ndarray, " N"],
    iou_threshold: float,
) -> Int[np.ndarray, " kept"]:
    """Non-maximum suppression: from the highest score down, keep boxes that overlap none kept before.

    Args:
        boxes: left, top, right, bottom.
        scores: of the boxes.
        categories: boxes of different categories do not suppress each other.
        iou_threshold: highest IoU of two kept boxes of one category.

    Returns:
        Indices of the kept boxes, highest score first. Boxes of score 0 are not kept, of several without area one is.
    """
    boxes_xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    found = (boxes_xywh, scores, categories)  # its stubs ask for sequences; it takes arrays, too
    kept = cv2.dnn.NMSBoxesBatched(*found, 0.0, iou_threshold, top_k=_MAX_NMS_BOXES)  # type: ignore[arg-type]
    return np.array(kept, dtype=int)
