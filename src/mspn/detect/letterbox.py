"""Pictures in the input of a detector, and its boxes back in the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mspn.records import Size

_GREY = 114
"""What YOLOX, NanoDet and RTMDet pad with."""
_STRONG_REDUCTION = 0.5
_MULTIPLE = 32
"""Networks whose coarsest level is at 1/32 take sides of so many pixels, or of several times as many."""


@dataclass(frozen=True)
class Letterbox:
    """A picture scaled into the top left corner of a network's input; what is left on the right and below is grey."""

    picture: Size
    scaled: Size
    """Of the picture in the input."""
    padded: Size
    """Of the input, in pixels."""

    def draw(self, pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The network's input; any order of channels.

        Bilinear as in the public detectors; a picture that is more than halved is averaged over areas instead, since
        bilinear reading would leave out most of its pixels.
        """
        assert pixels.shape[:2] == self.picture
        canvas = np.full((*self.padded, 3), _GREY, np.uint8)
        is_strong = max(self.scaled) < _STRONG_REDUCTION * max(self.picture)
        canvas[: self.scaled.height, : self.scaled.width] = cv2.resize(
            pixels,
            (self.scaled.width, self.scaled.height),
            interpolation=cv2.INTER_AREA if is_strong else cv2.INTER_LINEAR,
        )
        return canvas

    def to_picture(self, corners_input: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
        """Boxes (left, top, right, bottom) in input pixels as such boxes in image pixels, cut off at its borders.

        Edges count from the outer edge of the first pixel, so that a box of the whole input part is one of the whole
        picture.
        """
        factors = np.array([self.picture.width / self.scaled.width, self.picture.height / self.scaled.height] * 2)
        limits = [self.picture.width, self.picture.height] * 2
        corners_image: np.ndarray = np.clip(corners_input * factors, 0, limits)
        return corners_image


def fit_inside(picture: Size, padded: Size) -> Letterbox:
    """The largest letterbox in an input of fixed size."""
    scale = min(padded.height / picture.height, padded.width / picture.width)
    return Letterbox(picture, _scaled(picture, scale), padded)


def fit_longer_side(picture: Size, longer_side: int) -> Letterbox:
    """The longer side scaled to a multiple of 32 pixels; the other one padded to the next multiple."""
    assert longer_side % _MULTIPLE == 0
    scaled = _scaled(picture, longer_side / max(picture))
    return Letterbox(picture, scaled, Size(*(-(-side // _MULTIPLE) * _MULTIPLE for side in scaled)))


def stretch_over(picture: Size, padded: Size) -> Letterbox:
    """The whole input, in whatever shape."""
    return Letterbox(picture, padded, padded)


def _scaled(picture: Size, scale: float) -> Size:
    """A side has one pixel at least, however slim the picture."""
    return Size(max(1, round(picture.height * scale)), max(1, round(picture.width * scale)))
