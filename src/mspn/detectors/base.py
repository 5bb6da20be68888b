"""The interface of person detectors."""

from typing import Protocol

from mspn.structures.boxes import Detection
from mspn.structures.image import Image


class Detector(Protocol):
    """Finds people in images."""

    def detect(self, image: Image) -> list[Detection]:
        """The people in the image, in any order; an empty list if there are none.

        Raises:
            DetectorError: if detection fails for this image; a stream goes on with the next one.
        """
        ...
