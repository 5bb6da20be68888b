"""What finds people: one method."""

from typing import Protocol

from mspn.picture import Picture
from mspn.records import Detection


class DetectorError(ValueError):
    """A detector that cannot be used as it is, or not for a picture."""


class Detector(Protocol):
    """Finds people in pictures."""

    def detect(self, picture: Picture) -> list[Detection]:
        """Everyone in the picture, in any order; an empty list where there is nobody.

        Raises:
            DetectorError: if nothing can be said of this picture; the others are still asked for.
        """
        ...
