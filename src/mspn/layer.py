"""Smooth drawing: lines and discs at fractions of a pixel, as opaque as one likes, laid on a picture in one go."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mspn.themes import Colour

_SHIFT = 4
"""Coordinates are handed to OpenCV in sixteenths of a pixel."""
_SMOOTHING_PX = 1.4
"""What OpenCV's smoothing adds to the width of a polygon."""
_OPAQUE = 255


class Layer:
    """A part of a picture, drawn on by itself.

    What is drawn later takes the place of what is below it, its opacity too; only `lay_on` blends with the picture.
    Points are (x, y) in pixels of the picture.
    """

    def __init__(self, left: int, top: int, right: int, bottom: int) -> None:
        """Start an empty layer on the pixels from left and top to before right and bottom."""
        self._part = np.s_[top:bottom, left:right]
        self._origin = np.array([left, top])
        self._drawn = np.zeros((bottom - top, right - left, 4), np.uint8)

    def draw_line(
        self, start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"], width: float, colour: Colour, opacity: float
    ) -> None:
        """Draw a line with straight ends; below two pixels it does not get thinner."""
        along = end - start
        length = float(np.hypot(*along))
        if length > 0:
            across = np.array([-along[1], along[0]]) / length * max(width - _SMOOTHING_PX, 0) / 2
            corners = np.array([start + across, end + across, end - across, start - across])
            cv2.fillConvexPoly(self._drawn, self._place(corners), _ink(colour, opacity), cv2.LINE_AA, _SHIFT)

    def draw_disc(self, center: Float[np.ndarray, "2"], radius: float, colour: Colour, opacity: float) -> None:
        self._draw_circle(center, radius - _SMOOTHING_PX / 2, cv2.FILLED, colour, opacity)

    def draw_ring(
        self, center: Float[np.ndarray, "2"], radius: float, thickness: int, colour: Colour, opacity: float
    ) -> None:
        self._draw_circle(center, radius, thickness, colour, opacity)

    def lay_on(self, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Blend what was drawn into the picture, in place."""
        below = picture[self._part]
        opacity = cv2.cvtColor(cv2.extractChannel(self._drawn, 3), cv2.COLOR_GRAY2RGB)
        above = cv2.multiply(cv2.cvtColor(self._drawn, cv2.COLOR_RGBA2RGB), opacity, scale=1 / _OPAQUE)
        below[:] = cv2.add(above, cv2.multiply(below, cv2.bitwise_not(opacity), scale=1 / _OPAQUE))

    def _draw_circle(
        self, center: Float[np.ndarray, "2"], radius: float, thickness: int, colour: Colour, opacity: float
    ) -> None:
        fixed_radius = max(round(radius * 2**_SHIFT), 0)
        x, y = self._place(center).tolist()
        cv2.circle(self._drawn, (x, y), fixed_radius, _ink(colour, opacity), thickness, cv2.LINE_AA, _SHIFT)

    def _place(self, points: Float[np.ndarray, "*N 2"]) -> np.ndarray:
        fixed: np.ndarray = np.rint((points - self._origin) * 2**_SHIFT).astype(np.int32)
        return fixed


def _ink(colour: Colour, opacity: float) -> tuple[int, int, int, int]:
    return (*colour, round(_OPAQUE * opacity))
