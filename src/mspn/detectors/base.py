"""What detectors share: their interface, boxes of people from the output for several categories, letterboxes.

A letterbox is an image scaled and padded to a detector's input; its boxes are mapped back to the image.
"""

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import cv2
import numpy as np

from mspn.errors import DetectorError, InvalidValueError
from mspn.structures.boxes import Box, Detection, Size, count_votes, nms
from mspn.structures.image import Image
from mspn.structures.shapes import Bool, Float, UInt8


class Detector(Protocol):
    """Finds people in images."""

    def detect(self, image: Image) -> list[Detection]:
        """The people in the image, in any order; an empty list if there are none.

        Raises:
            DetectorError: if detection fails for this image; a stream goes on with the next one.
        """
        ...


def import_detector(path: str) -> Detector:
    """The detector at `package.module:name`: an instance, or a class or function that makes one without arguments.

    Raises:
        DetectorError: if there is no such module or name, it cannot be made so, or it has no `detect`.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise DetectorError(
            f"detector {path}: no module {error.name!r}; install it, or name its folder in PYTHONPATH"
        ) from error
    if not hasattr(module, name):
        close = difflib.get_close_matches(name, vars(module), n=1)
        hint = f"; did you mean {close[0]}?" if close else "; check its spelling"
        raise DetectorError(f"detector {path}: {module_name} has no {name!r}{hint}")
    detector = getattr(module, name)
    if isinstance(detector, type) or not hasattr(detector, "detect"):
        if not callable(detector):
            raise DetectorError(
                f"detector {path} is a {type(detector).__name__}; name a class with a method detect(image)"
            )
        try:
            detector = detector()
        except TypeError as error:
            raise DetectorError(
                f"detector {path} cannot be made without arguments ({error}); name a function that makes it"
            ) from error
    return check_detector(detector, path)


def check_detector(detector: object, name: str) -> Detector:
    """Check that an object has the interface of a detector.

    Raises:
        DetectorError: if it is a class rather than an instance, or has no method `detect`.
    """
    if isinstance(detector, type):
        raise DetectorError(f"detector {name} is a class; give an instance of it")
    if not callable(getattr(detector, "detect", None)):
        raise DetectorError(f"detector {name} has no method detect(image); docs/detectors.md says what it must do")
    return cast(Detector, detector)


def checked_detections(detector: Detector, image: Image) -> Sequence[Detection]:
    """What a detector finds.

    Raises:
        DetectorError: as the detector's own.
        ValueError: if the detector gives anything but detections.
    """
    found: object = detector.detect(image)
    if not (isinstance(found, Sequence) and all(isinstance(item, Detection) for item in found)):
        name = type(detector).__name__
        raise InvalidValueError(f"the detector {name} must give a list of mspn.Detection, not {repr(found)[:60]}")
    return found


class FullImage:
    """Takes the full image for one person, for images that are crops already."""

    def detect(self, image: Image) -> list[Detection]:
        return [Detection(Box.of_image(image.size), 1.0)]


BoxSelection = Literal["people", "top-100"]
"""people: every box of a person; top-100: those among an image's best 100 of all categories (paper Sec. 4.2)."""

MIN_SCORE = 0.05
"""Boxes with a lower score are dropped at once, as in NanoDet's and the paper's tests."""
MAX_BOXES = 100
_MIN_SIDE = 1.0
"""Of a detected box in image pixels; thinner boxes lay outside the image."""


def select_indices(scores: Sequence[float], is_person: Sequence[bool], rule: BoxSelection) -> list[int]:
    """Indices of the boxes of people that the rule keeps, of all boxes of an image."""
    indices = list(range(len(scores)))
    if rule == "top-100":
        indices = sorted(indices, key=lambda index: -scores[index])[:MAX_BOXES]
    return [index for index in indices if is_person[index]]


def require_all_categories(source: object, rule: BoxSelection) -> None:
    """Refuse top-100 for a network whose only category is people.

    Raises:
        DetectorError: naming `source`.
    """
    if rule == "top-100":
        raise DetectorError(
            f"{source} detects only people, so the top {MAX_BOXES} boxes of all categories are unknown; use the rule"
            " people"
        )


def select_detections(
    boxes_xyxy_image: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    is_person: Bool[np.ndarray, " N"],
    rule: BoxSelection,
) -> list[Detection]:
    """Detections of the people that the rule keeps, without boxes that are empty inside the image.

    Args:
        boxes_xyxy_image: left, top, right, bottom, cut off at the borders of the image.
        scores: of the boxes.
        is_person: whether each is one.
        rule: which people count.
    """
    corner, extent = boxes_xyxy_image[:, :2], boxes_xyxy_image[:, 2:] - boxes_xyxy_image[:, :2]
    is_usable = (extent >= _MIN_SIDE).all(1)
    return [
        Detection(Box(*corner[index].tolist(), *extent[index].tolist()), min(1.0, float(scores[index])))
        for index in select_indices(scores.tolist(), is_person.tolist(), rule)
        if is_usable[index]
    ]


IOU_THRESHOLD = 0.5
"""Of two boxes of our own detector with a higher IoU, the one with the lower score is dropped, and votes."""
USUAL_SUPPORT, MAX_SUPPORT, SUPPORT_POWER = 2.5, 3.0, 0.3
"""A score is multiplied by the power of the box's support, as a part of the usual one: many cells see a person, few see
what only resembles one. More support than the largest says no more."""
MAX_PEOPLE = 100
"""Of our own detector."""


def choose_detections(boxes_xyxy_image: Float[np.ndarray, "N 4"], scores: Float[np.ndarray, " N"]) -> list[Detection]:
    """The best of boxes that overlap, best first; the others move them, and raise or lower their scores."""
    kept = nms(boxes_xyxy_image, scores, np.zeros(len(scores), np.int32), IOU_THRESHOLD)[:MAX_PEOPLE]
    votes = count_votes(boxes_xyxy_image, scores, kept, IOU_THRESHOLD)
    rescored = scores[kept] * (votes.support.clip(max=MAX_SUPPORT) / USUAL_SUPPORT) ** SUPPORT_POWER
    order = np.argsort(-rescored, kind="stable")
    return select_detections(votes.boxes[order], rescored[order], rescored[order] >= MIN_SCORE, "people")


MAX_SIDE = 4096
"""Of an input, in pixels."""
_GRAY = 114
"""What YOLOX, NanoDet and RTMDet pad with."""
_STRONG_REDUCTION = 0.5
_MULTIPLE = 32
"""Sides are multiples of this many pixels, since the coarsest level of the network is at 1/32."""


@dataclass(frozen=True)
class Letterbox:
    """An image scaled into the top left corner of a network's input; the right and bottom are padded with gray."""

    image: Size
    scaled: Size
    """Of the image in the input."""
    padded: Size
    """Of the input, in pixels."""

    def draw(self, pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The network's input; any order of channels.

        Bilinear as in the public detectors; an image that is more than halved is averaged over areas instead, since
        bilinear reading would leave out most of its pixels. Where it is more than quartered, averages of two by two
        pixels come first, which OpenCV computes so much faster than others that both steps take less than half of one;
        they differ by a level or two of 255.
        """
        assert pixels.shape[:2] == self.image
        canvas = np.full((*self.padded, 3), _GRAY, np.uint8)
        is_strong = max(self.scaled) < _STRONG_REDUCTION * max(self.image)
        is_even = self.image.height % 2 == 0 and self.image.width % 2 == 0
        if is_even and max(self.scaled) < _STRONG_REDUCTION**2 * max(self.image):
            half = (self.image.width // 2, self.image.height // 2)
            pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
        canvas[: self.scaled.height, : self.scaled.width] = cv2.resize(
            pixels,
            (self.scaled.width, self.scaled.height),
            interpolation=cv2.INTER_AREA if is_strong else cv2.INTER_LINEAR,
        )
        return canvas

    def to_image(self, boxes_xyxy_input: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
        """Boxes (left, top, right, bottom) from input to image pixels, clipped to the image.

        Edges count from the outer edge of the first pixel, so that a box of the whole input part is one of the whole
        image.
        """
        factors = np.array([self.image.width / self.scaled.width, self.image.height / self.scaled.height] * 2)
        limits = [self.image.width, self.image.height] * 2
        boxes_xyxy_image: np.ndarray = np.clip(boxes_xyxy_input * factors, 0, limits)
        return boxes_xyxy_image


def fit_inside(image: Size, padded: Size) -> Letterbox:
    """The largest letterbox in an input of fixed size."""
    scale = min(padded.height / image.height, padded.width / image.width)
    return Letterbox(image, _scaled(image, scale), padded)


def fit_longer_side(image: Size, longer_side: int) -> Letterbox:
    """The longer side scaled to a multiple of 32 pixels; the other one padded to the next multiple."""
    assert longer_side % _MULTIPLE == 0
    scaled = _scaled(image, longer_side / max(image))
    return Letterbox(image, scaled, Size(*(-(-side // _MULTIPLE) * _MULTIPLE for side in scaled)))


def stretch_over(image: Size, padded: Size) -> Letterbox:
    """Stretch the image over the whole input, without keeping its aspect ratio."""
    return Letterbox(image, padded, padded)


def _scaled(image: Size, scale: float) -> Size:
    """Each side has at least one pixel."""
    return Size(max(1, round(image.height * scale)), max(1, round(image.width * scale)))
