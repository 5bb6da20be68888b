"""Detection in overlapping slices of large images (Akyon et al., "Slicing Aided Hyper Inference")."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mspn.detectors.base import Detector, checked_detections
from mspn.structures.boxes import Box, Detection, Size, covered_share, nms, to_xyxy
from mspn.structures.image import Image
from mspn.structures.shapes import Bool

MAX_SLICES = 8
"""Along the longer side of an image; with those along the shorter side and the whole image, 65 at most."""
_OVERLAP = 0.2
"""Of two slices side by side, as a share of a slice's side."""
_BORDER_PX = 2.0
"""A box that ends this close to where a slice was cut may be of a person who goes on beyond."""
_IOU_THRESHOLD = 0.5
"""Of two boxes with a higher IoU, the one with the lower score is dropped."""
_MAX_COVERED_SHARE = 0.6
"""The box of a cut person of which a larger share lies in another box is dropped."""


class SlicedDetector:
    """Finds people in the whole image and in overlapping slices of it, where small people are larger for a network."""

    def __init__(self, detector: Detector, slices: int) -> None:
        """Slice images for a detector.

        Args:
            detector: sees the whole image, and each slice as an image of its own.
            slices: along an image's longer side, 2 or more; along the shorter one as many as make them about square.
        """
        self.detector = detector
        self._slices = slices

    def detect(self, image: Image) -> list[Detection]:
        """People in the image, best first, boxes in its pixels; a person in several slices is one detection.

        Raises:
            DetectorError: as the detector's own.
            ValueError: if the detector gives anything but detections.
        """
        found = list(checked_detections(self.detector, image))
        is_cut = np.zeros(len(found), bool)
        for part in cut_slices(image.size, self._slices):
            left, top, width, height = map(int, part)
            pixels = np.ascontiguousarray(image.pixels[top : top + height, left : left + width])
            in_slice = [
                Detection(one.box._replace(left=one.box.left + left, top=one.box.top + top), one.score)
                for one in checked_detections(self.detector, dataclasses.replace(image, pixels=pixels))
            ]
            is_cut = np.concatenate([is_cut, _end_where_cut(in_slice, part, image.size)])
            found = [*found, *in_slice]
        return _merge(found, is_cut)


def cut_slices(image: Size, slices: int) -> list[Box]:
    """Slices, all of one size, that cover an image: as many as given along the longer side.

    Neighbors overlap by a fifth of a slice's side or more. Rows from top to bottom, in each from left to right.
    """
    side = math.ceil(max(image) / (slices - (slices - 1) * _OVERLAP))
    tops, lefts = (_starts(length, side) for length in image)
    height, width = (min(side, length) for length in image)
    return [Box(left, top, width, height) for top in tops for left in lefts]


def _starts(length: int, side: int) -> list[int]:
    """Where slices of a side begin, evenly spread from one end of the length to the other."""
    if length <= side:
        return [0]
    number = math.ceil((length - side) / (side * (1 - _OVERLAP))) + 1
    return [round(start) for start in np.linspace(0, length - side, number)]


def _end_where_cut(found: Sequence[Detection], part: Box, image: Size) -> Bool[np.ndarray, " N"]:
    """Whether each box of a slice ends at one of its borders inside the image."""
    boxes, (borders,) = to_xyxy([one.box for one in found]), to_xyxy([part])
    is_inner = borders != (0, 0, image.width, image.height)
    return np.asarray((is_inner & (np.abs(boxes - borders) <= _BORDER_PX)).any(-1))


def _merge(found: Sequence[Detection], is_cut: Bool[np.ndarray, " N"]) -> list[Detection]:
    """Drop duplicates, and boxes of cut people where another box has more of them; the rest, best first."""
    boxes, scores = to_xyxy([one.box for one in found]), np.array([one.score for one in found])
    whole, cut = np.flatnonzero(~is_cut), np.flatnonzero(is_cut)
    kept = whole[nms(boxes[whole], scores[whole], np.zeros(len(whole), np.int32), _IOU_THRESHOLD)].tolist()
    largest_first = cut[np.argsort(-(boxes[cut, 2:] - boxes[cut, :2]).prod(-1), kind="stable")]
    for index in largest_first:
        if covered_share(boxes[index], boxes[kept]).max(initial=0) <= _MAX_COVERED_SHARE:
            kept.append(int(index))
    return [found[index] for index in sorted(kept, key=lambda index: -scores[index])]
