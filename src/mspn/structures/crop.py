"""Crop frames: where a person's crop lies in its image, and the one warp that cuts it out.

Points are (x, y). Image and crop coordinates are pixel indices as COCO writes them. A heat-map cell
covers 4x4 crop pixels: crop pixel x falls into cell floor(x / 4), whose center is 4 i + 2. Heat-map
coordinates count cells from cell center to cell center, so that cell i is at i. See docs/conventions.md.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from mspn.structures.boxes import Box, Size
from mspn.structures.shapes import Float, UInt8

if TYPE_CHECKING:
    from torch import Tensor

Points = TypeVar("Points", np.ndarray, "Tensor")
"""(x, y) rows, (..., 2)."""

HEATMAP_STRIDE = 4
"""Crop pixels per heat-map cell."""


@dataclass(frozen=True)
class CropFrame:
    """Where a crop lies in its image: x_crop = scale * R(-rotation) * (x_image - center) + crop middle.

    Source: the released code's affine map. Its crop middle is (width / 2, height / 2).
    """

    center_image: tuple[float, float]
    width_image: float
    """Image pixels that the crop's width covers; the height follows from the crop's shape."""
    size: Size
    """Crop height and width in pixels."""
    rotation_degrees: float = 0.0
    """By how much the crop's axes are turned in the image, from x towards y (clockwise as seen)."""
    mirrored: bool = False
    """Whether the crop shows its content mirrored left to right, before the rotation."""

    @property
    def height_image(self) -> float:
        """Image pixels that the crop's height covers."""
        return self.width_image * self.size.height / self.size.width

    @property
    def image_to_crop(self) -> Float[np.ndarray, "2 3"]:
        """Affine matrix from image to crop pixels."""
        angle = math.radians(self.rotation_degrees)
        scale = self.size.width / self.width_image
        rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        mirror = np.diag([-1.0 if self.mirrored else 1.0, 1.0])
        linear = scale * rotation @ mirror
        middle = np.array([self.size.width / 2, self.size.height / 2])
        return np.column_stack([linear, middle - linear @ np.array(self.center_image)])

    @property
    def crop_to_image(self) -> Float[np.ndarray, "2 3"]:
        """Affine matrix from crop to image pixels, the inverse of `image_to_crop`."""
        angle = math.radians(self.rotation_degrees)
        step = self.width_image / self.size.width
        cosine, sine = step * math.cos(angle), step * math.sin(angle)
        mirror = -1.0 if self.mirrored else 1.0
        middle_x, middle_y = self.size.width / 2, self.size.height / 2
        center_x, center_y = self.center_image
        return np.array(
            [
                [mirror * cosine, -mirror * sine, center_x - mirror * (cosine * middle_x - sine * middle_y)],
                [sine, cosine, center_y - sine * middle_x - cosine * middle_y],
            ]
        )


def transform_points(points: Float[np.ndarray, "*N 2"], matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "*N 2"]:
    """Apply an affine matrix to (x, y) points."""
    transformed: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
    return transformed


def crop_to_heatmap(points: Points) -> Points:
    """Crop pixels to heat-map coordinates; the nearest cell is floor(x_crop / 4)."""
    return (points - HEATMAP_STRIDE / 2) / HEATMAP_STRIDE


def heatmap_to_crop(points: Points) -> Points:
    """Heat-map coordinates to crop pixels: 4 i + 2."""
    return points * HEATMAP_STRIDE + HEATMAP_STRIDE / 2


def frame_from_box(box: Box, size: Size, padding: tuple[float, float]) -> CropFrame:
    """Frame a box: pad it, then grow one side until it has the crop's shape.

    Args:
        box: in image pixels.
        size: of the crop.
        padding: factors on the box's width and height, (1.09, 1.135) in the released test code.

    Source: paper Sec. 4.1 (boxes are expanded to a fixed aspect ratio) and the released code.
    """
    return CropFrame(box.center, fitted_width(box.width * padding[0], box.height * padding[1], size), size)


def fitted_width(width: float, height: float, size: Size) -> float:
    """Width of the smallest region with the crop's shape that holds width x height image pixels."""
    return max(width, height * size.width / size.height)


def cut_crop(image: UInt8[np.ndarray, "H W 3"], frame: CropFrame, reduction: int = 1) -> UInt8[np.ndarray, "h w 3"]:
    """Cut the frame's region out of an RGB image, bilinear, black outside the image.

    Args:
        image: the image, or a reduced one.
        frame: in pixels of the whole image.
        reduction: of the image, see `ReducedImage`.

    Source: the released code, which warps with a constant border of 0.
    """
    linear, offset = np.split(frame.image_to_crop, [2], axis=1)
    # The middle of reduced pixel 0 is the middle of the image's pixels 0 to reduction - 1.
    middle = np.full((2, 1), (reduction - 1) / 2)
    return cv2.warpAffine(
        image,
        np.hstack([linear * reduction, linear @ middle + offset]),
        (frame.size.width, frame.size.height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )
