"""Poses in a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from mspn.io.images import encode_jpeg, fit_within
from mspn.structures.pose import Pose
from mspn.visualize.draw import draw_poses
from mspn.visualize.themes import DEFAULT_THEME, Theme

_MAX_SIDE_PX = 1024


@dataclass(frozen=True, eq=False)
class DrawnImage:
    """An image that a notebook shows when it is the last value of a cell."""

    pixels: UInt8[np.ndarray, "H W 3"]
    """RGB."""

    def _repr_jpeg_(self) -> bytes:
        """The image as JPEG, which Jupyter displays."""
        return encode_jpeg(self.pixels)


def show_poses(
    image: UInt8[np.ndarray, "H W 3"],
    poses: Sequence[Pose],
    theme: Theme = DEFAULT_THEME,
    *,
    with_boxes: bool = False,
) -> DrawnImage:
    """Draw poses for a notebook, at most 1024 pixels long; arguments as those of `draw_poses`.

    >>> show_poses(image, PoseEstimator()(image))
    """
    drawn = draw_poses(image, poses, theme, with_boxes=with_boxes)
    return DrawnImage(fit_within(drawn, _MAX_SIDE_PX))
