"""What every person detector is: one method."""

from typing import Protocol

from mspn.structures.boxes import Detection
from mspn.structures.image import Image


class Detector(Protocol):
    """Finds people in images."""

    def detect(self, image: Image) -> list[Detection]:
        """Everyone in the image, in any order; an empty list where there is nobody.

        Raises:
            DetectorError: if nothing can be said of this image; the others are still asked for.
        """
        ...
