"""What someone else may have written."""

from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image


class LeftHalf:
    """Takes the left half of every image for a person."""

    def detect(self, image: Image) -> list[Detection]:
        return [Detection(Box(0, 0, image.size.width / 2, image.size.height), 0.5)]


class OfWidth(LeftHalf):
    def __init__(self, width: float) -> None:
        self.width = width


class Blind:
    pass


class Buggy:
    """Fails as NumPy does when a detector's author has made a mistake."""

    def detect(self, image: Image) -> list[Detection]:
        raise ValueError(f"cannot reshape array of size {image.size.width} into shape (3, 3)")


ready = OfWidth(20)
number = 5


def make_narrow() -> OfWidth:
    return OfWidth(10)
