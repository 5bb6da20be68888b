"""What someone else may have written."""

from mspn.picture import Picture
from mspn.records import Box, Detection


class LeftHalf:
    """Takes the left half of every picture for a person."""

    def detect(self, picture: Picture) -> list[Detection]:
        return [Detection(Box(0, 0, picture.size.width / 2, picture.size.height), 0.5)]


class OfWidth(LeftHalf):
    def __init__(self, width: float) -> None:
        self.width = width


class Blind:
    pass


ready = OfWidth(20)
number = 5


def make_narrow() -> OfWidth:
    return OfWidth(10)
