"""Pictures in the input of a detector, and its boxes back in the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mspn.records import Size

_GREY = 114
"""What YOLOX, NanoDet and RTMDet pad with."""
_STRONG_REDUCTION = 0.5


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


def fit_long_side(picture: Size, long_side: int, multiple: int = 32) -> Letterbox:
    """The longer side scaled to `long_side` pixels, which is a multiple; the other one padded to the next multiple."""
    assert long_side % multiple == 0
    scaled = _scaled(picture, long_side / max(picture))
    return Letterbox(picture, scaled, Size(*(-(-side // multiple) * multiple for side in scaled)))


def stretch_over(picture: Size, padded: Size) -> Letterbox:
    """The whole input, in whatever shape."""
    return Letterbox(picture, padded, padded)


def draw_batch(
    pictures: Sequence[UInt8[np.ndarray, "H W 3"]], letterboxes: Sequence[Letterbox]
) -> UInt8[np.ndarray, "B h w 3"]:
    """Several pictures in one batch, padded to the largest of their inputs; `to_picture` stays as it is."""
    size = Size(*np.max([one.padded for one in letterboxes], axis=0))
    batch = np.full((len(pictures), *size, 3), _GREY, np.uint8)
    for canvas, pixels, letterbox in zip(batch, pictures, letterboxes, strict=True):
        canvas[: letterbox.padded.height, : letterbox.padded.width] = letterbox.draw(pixels)
    return batch


def _scaled(picture: Size, scale: float) -> Size:
    """A side has one pixel at least, however slim the picture."""
    return Size(max(1, round(picture.height * scale)), max(1, round(picture.width * scale)))
