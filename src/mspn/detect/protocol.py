"""What finds people: one method."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from mspn.records import Detection, Size


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture and where it came from."""

    source: str
    """Path as the user gave it; empty for an array."""
    pixels: UInt8[np.ndarray, "H W 3"]
    """RGB."""

    @property
    def size(self) -> Size:
        return Size(*self.pixels.shape[:2])


class Detector(Protocol):
    """Finds people in pictures."""

    def detect(self, picture: Picture) -> list[Detection]:
        """Everyone in the picture, in any order; an empty list where there is nobody."""
        ...
