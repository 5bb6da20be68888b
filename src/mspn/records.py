"""Plain values that every layer speaks in: sizes, boxes, detections, poses."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mspn.skeleton import Skeleton


class Size(NamedTuple):
    """Height and width in pixels, height first."""

    height: int
    width: int


class Box(NamedTuple):
    """An upright box in image pixels: the top-left corner, then the extent, as COCO writes it."""

    left: float
    top: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the middle."""
        return self.left + self.width / 2, self.top + self.height / 2


_SMALLEST_SIDE = 0.1
_LARGEST_SHARE = 100


def check_box(box: Box, image: Size) -> None:
    """Refuse a box that no person can be cut out of.

    Raises:
        ValueError: if a number is not finite, a side is below a tenth of a pixel or a hundred times the image's, or
            the box does not touch the image.
    """
    if not all(math.isfinite(value) for value in box):
        raise ValueError(
            f"box {_written(box)} has a number that is not finite; write [left, top, width, height] in pixels"
        )
    if min(box.width, box.height) < _SMALLEST_SIDE:
        raise ValueError(f"box {_written(box)} is empty; width and height must be above 0 pixels")
    if max(box.width / image.width, box.height / image.height) > _LARGEST_SHARE:
        raise ValueError(
            f"box {_written(box)} is more than {_LARGEST_SHARE} times as large as the picture of"
            f" {image.width}x{image.height} pixels; write [left, top, width, height] in pixels of this picture"
        )
    outside = (
        box.left >= image.width or box.top >= image.height or box.left + box.width <= 0 or box.top + box.height <= 0
    )
    if outside:
        raise ValueError(
            f"box {_written(box)} lies outside the picture of {image.width}x{image.height} pixels;"
            " write [left, top, width, height] in pixels of this picture"
        )


def _written(box: Box) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"


@dataclass(frozen=True)
class Detection:
    """A person that a detector found."""

    box: Box
    score: float
    """0 to 1."""


@dataclass(frozen=True, eq=False)
class Pose:
    """One person's keypoints in an image."""

    skeleton: Skeleton
    keypoints_image: Float[np.ndarray, "K 2"]
    """(x, y) in image pixels; they may lie outside the picture."""
    keypoint_scores: Float[np.ndarray, " K"]
    """Heat-map value at each keypoint, clipped to 0..1."""
    score: float
    """Box score times the mean keypoint score, 0 to 1."""
    ranking_score: float
    """What average precision sorts by: box score times the mean of the raw, offset keypoint scores."""
    box: Box
    box_score: float

    @property
    def keypoints(self) -> dict[str, tuple[float, float, float]]:
        """(x, y, score) by keypoint name."""
        rows = zip(self.skeleton.keypoints, self.keypoints_image, self.keypoint_scores, strict=True)
        return {name: (float(point[0]), float(point[1]), float(score)) for name, point, score in rows}
