"""Poses in a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mspn.io.images import encode_jpeg, fit_within
from mspn.sources import read_single_image
from mspn.sources.in_memory import InMemoryImage
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
    image: InMemoryImage | str | Path,
    poses: Sequence[Pose],
    theme: Theme | str = DEFAULT_THEME,
    *,
    with_boxes: bool = False,
) -> DrawnImage:
    """Draw poses for a notebook, at most 1024 pixels long.

    >>> import mspn, numpy as np
    >>> image = np.zeros((64, 48, 3), np.uint8)
    >>> show_poses(image, mspn.PoseEstimator("mspn-tiny", "none")(image)).pixels.shape
    (64, 48, 3)

    Args:
        image: as `PoseEstimator` takes it: the path of an image file, an array, a tensor or a Pillow image.
        poses: in its pixels.
        theme: as `draw_poses` takes it.
        with_boxes: draw boxes too.

    Raises:
        ImageError: if the file cannot be read.
        SourceError: if it is no image, as in `PoseEstimator`.
        TypeError: for any other value.
        ValueError: if there is no theme of that name.
    """
    drawn = draw_poses(read_single_image(image).pixels, poses, theme, with_boxes=with_boxes)
    return DrawnImage(fit_within(drawn, _MAX_SIDE_PX))
