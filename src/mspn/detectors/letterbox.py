"""Letterboxes: images scaled and padded to a detector's input, and its boxes mapped back to the image."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mspn.structures.boxes import Size

MAX_SIDE = 4096
"""Of an input, in pixels."""
_GRAY = 114
"""What YOLOX, NanoDet and RTMDet pad with."""
_STRONG_REDUCTION = 0.5
_MULTIPLE = 32
"""Sides are multiples of this many pixels, since the coarsest level of the network is at 1/32."""


@dataclass(frozen=True)
class Letterbox:
    """An image scaled into the top left corner of a network's input; the right and bottom are padded with gray."""

    image: Size
    scaled: Size
    """Of the image in the input."""
    padded: Size
    """Of the input, in pixels."""

    def draw(self, pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The network's input; any order of channels.

        Bilinear as in the public detectors; an image that is more than halved is averaged over areas instead, since
        bilinear reading would leave out most of its pixels.
        """
        assert pixels.shape[:2] == self.image
        canvas = np.full((*self.padded, 3), _GRAY, np.uint8)
        is_strong = max(self.scaled) < _STRONG_REDUCTION * max(self.image)
        canvas[: self.scaled.height, : self.scaled.width] = cv2.resize(
            pixels,
            (self.scaled.width, self.scaled.height),
            interpolation=cv2.INTER_AREA if is_strong else cv2.INTER_LINEAR,
        )
        return canvas

    def to_image(self, boxes_xyxy_input: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
        """Boxes (left, top, right, bottom) from input to image pixels, clipped to the image.

        Edges count from the outer edge of the first pixel, so that a box of the whole input part is one of the whole
        image.
        """
        factors = np.array([self.image.width / self.scaled.width, self.image.height / self.scaled.height] * 2)
        limits = [self.image.width, self.image.height] * 2
        boxes_xyxy_image: np.ndarray = np.clip(boxes_xyxy_input * factors, 0, limits)
        return boxes_xyxy_image


def fit_inside(image: Size, padded: Size) -> Letterbox:
    """The largest letterbox in an input of fixed size."""
    scale = min(padded.height / image.height, padded.width / image.width)
    return Letterbox(image, _scaled(image, scale), padded)


def fit_longer_side(image: Size, longer_side: int) -> Letterbox:
    """The longer side scaled to a multiple of 32 pixels; the other one padded to the next multiple."""
    assert longer_side % _MULTIPLE == 0
    scaled = _scaled(image, longer_side / max(image))
    return Letterbox(image, scaled, Size(*(-(-side // _MULTIPLE) * _MULTIPLE for side in scaled)))


def stretch_over(image: Size, padded: Size) -> Letterbox:
    """Stretch the image over the whole input, without keeping its aspect ratio."""
    return Letterbox(image, padded, padded)


def _scaled(image: Size, scale: float) -> Size:
    """Each side has at least one pixel."""
    return Size(max(1, round(image.height * scale)), max(1, round(image.width * scale)))
