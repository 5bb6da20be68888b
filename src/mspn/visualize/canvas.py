"""Anti-aliased drawing at fractions of a pixel, with opacity, blended into an image in one go."""

import math

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mspn.visualize.themes import Color

_SHIFT = 4
"""Coordinates are handed to OpenCV in sixteenths of a pixel."""
_SMOOTHING_PX = 1.4
"""OpenCV's anti-aliasing adds this to the width of a polygon."""
_MAX_OPACITY = 255


class Overlay:
    """A transparent layer over a part of an image.

    Later strokes replace earlier ones, opacity included; only `blend_into` blends with the image.
    Points are (x, y) in pixels of the image.
    """

    def __init__(self, left: int, top: int, right: int, bottom: int) -> None:
        """Start with an empty overlay; right and bottom are exclusive."""
        self._region = np.s_[top:bottom, left:right]
        self._left, self._top = left, top
        self._drawn = np.zeros((bottom - top, right - left, 4), np.uint8)

    def draw_line(
        self, start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"], width: float, color: Color, opacity: float
    ) -> None:
        """Draw a line with straight ends; the minimum width is about two pixels."""
        (x1, y1), (x2, y2) = start.tolist(), end.tolist()
        length = math.hypot(x2 - x1, y2 - y1)
        if length > 0:
            # Plain numbers are several times faster than arrays of two, and a frame has hundreds of lines.
            half = max(width - _SMOOTHING_PX, 0) / 2 / length
            right, down = (y1 - y2) * half, (x2 - x1) * half
            corners = (
                (x1 + right, y1 + down),
                (x2 + right, y2 + down),
                (x2 - right, y2 - down),
                (x1 - right, y1 - down),
            )
            fixed = np.array([self._fixed_point(x, y) for x, y in corners], np.int32)
            cv2.fillConvexPoly(self._drawn, fixed, _rgba(color, opacity), cv2.LINE_AA, _SHIFT)

    def draw_disc(self, center: Float[np.ndarray, "2"], radius: float, color: Color, opacity: float) -> None:
        self._draw_circle(center, radius - _SMOOTHING_PX / 2, cv2.FILLED, color, opacity)

    def draw_ring(
        self, center: Float[np.ndarray, "2"], radius: float, thickness: int, color: Color, opacity: float
    ) -> None:
        self._draw_circle(center, radius, thickness, color, opacity)

    def blend_into(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Blend what was drawn into the image, in place."""
        below = image[self._region]
        opacity = cv2.cvtColor(cv2.extractChannel(self._drawn, 3), cv2.COLOR_GRAY2RGB)
        above = cv2.multiply(cv2.cvtColor(self._drawn, cv2.COLOR_RGBA2RGB), opacity, scale=1 / _MAX_OPACITY)
        below[:] = cv2.add(above, cv2.multiply(below, cv2.bitwise_not(opacity), scale=1 / _MAX_OPACITY))

    def _draw_circle(
        self, center: Float[np.ndarray, "2"], radius: float, thickness: int, color: Color, opacity: float
    ) -> None:
        x, y = center.tolist()
        fixed_radius = max(round(radius * 2**_SHIFT), 0)
        cv2.circle(
            self._drawn, self._fixed_point(x, y), fixed_radius, _rgba(color, opacity), thickness, cv2.LINE_AA, _SHIFT
        )

    def _fixed_point(self, x: float, y: float) -> tuple[int, int]:
        """Overlay coordinates in OpenCV's fixed-point format."""
        return round((x - self._left) * 2**_SHIFT), round((y - self._top) * 2**_SHIFT)


def _rgba(color: Color, opacity: float) -> tuple[int, int, int, int]:
    return (*color, round(_MAX_OPACITY * opacity))
