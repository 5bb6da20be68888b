"""Selection of the boxes of people from the output of a detector of several categories."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from mspn.errors import DetectorError
from mspn.structures.boxes import Box, Detection

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
