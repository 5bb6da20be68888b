"""Decoded images and their origin: a file, a frame of a video, an array."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from mspn.structures.boxes import Size
from mspn.structures.shapes import UInt8


@dataclass(frozen=True)
class Video:
    """A video file, a camera or a stream."""

    source: str
    """Path, address or camera number as the user gave it."""
    size: Size
    """Of its images, upright."""
    frame_rate: Fraction | None
    """Mean frames per second; None if unknown."""
    num_frames: int | None
    """As the file says or lets us guess, for progress; None if unknown."""
    is_live: bool
    """Whether frames are dropped if they are not taken in time."""


@dataclass(frozen=True)
class FrameInfo:
    """Position of a frame in its video."""

    video: Video
    index: int
    """From 0, counting dropped frames."""
    seconds: float
    """Time stamp, from the start of the video."""
    num_dropped: int = 0
    """Frames of a live source dropped so far."""


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels and where they came from.

    >>> import numpy as np
    >>> Image("street.jpg", np.zeros((480, 640, 3), np.uint8)).size
    Size(height=480, width=640)
    """

    source: str
    """Path or address as the user gave it; empty for an array."""
    pixels: UInt8[np.ndarray, "H W 3"]
    """RGB."""
    frame: FrameInfo | None = None
    """None if it is not a frame of a video."""

    @property
    def size(self) -> Size:
        return Size(*self.pixels.shape[:2])

    def without_pixels(self) -> "Image":
        """The same image, black and without memory for its pixels: source, size and frame info remain."""
        return replace(self, pixels=np.broadcast_to(np.uint8(0), self.pixels.shape))


@dataclass(frozen=True)
class SourceFailure:
    """A source, or the remainder of one, that gives no image."""

    source: str
    problem: str
    """One line: what, where, what to do."""
