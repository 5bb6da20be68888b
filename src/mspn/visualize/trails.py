"""Trails: where the people of a video have just been."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.structures.pose import Pose
from mspn.visualize.draw import line_thickness
from mspn.visualize.themes import track_color

_SECONDS = 1.0
_MAX_COORDINATE_PX = 30_000
"""OpenCV's lines take no points farther away."""
_SHIFT = 4
"""Bits of a pixel's fractions in OpenCV's drawing functions."""


class Trails:
    """The way that the feet of each track's box have gone in the last second of a video."""

    def __init__(self) -> None:
        self._places: dict[int, list[tuple[float, tuple[float, float]]]] = {}
        """Times and places (x, y) by track."""

    def draw(
        self, image: UInt8[np.ndarray, "H W 3"], poses: Sequence[Pose], seconds: float
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Add the next frame, and draw the trails of the tracks that it has on a copy of it.

        Args:
            image: the frame.
            poses: in its pixels; those without a track have no trail.
            seconds: of the frame in its video.
        """
        canvas = image.copy()
        for track_id in list(self._places):
            recent = [place for place in self._places[track_id] if seconds - place[0] <= _SECONDS]
            self._places[track_id] = recent
            if not recent:
                del self._places[track_id]
        for pose in poses:
            left, top, width, height = pose.box
            foot = (left + width / 2, top + height)
            if pose.track_id is None or not max(map(abs, foot)) < _MAX_COORDINATE_PX:
                continue
            trail = self._places.setdefault(pose.track_id, [])
            trail.append((seconds, foot))
            points = np.rint(np.array([place for _, place in trail]) * 2**_SHIFT).astype(np.int32)
            thickness = 1 + round(line_thickness(max(width, height)))
            cv2.polylines(canvas, [points], False, track_color(pose.track_id), thickness, cv2.LINE_AA, _SHIFT)
        return canvas
