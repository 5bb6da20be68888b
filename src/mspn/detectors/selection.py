"""Which boxes of people count, where a detector sees other things too."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from mspn.errors import DetectorError
from mspn.structures.boxes import Box, Detection

BoxSelection = Literal["people", "top-100"]
"""people: every box of a person; top-100: those among an image's best 100 of all categories (paper Sec. 4.2)."""

MIN_SCORE = 0.05
"""Boxes below are left out at once; NanoDet's and the paper's tests do so too."""
BEST = 100
_MIN_SIDE = 1.0
"""Of a detected box in image pixels; what is thinner lay outside the image."""


def select_people(scores: Sequence[float], is_person: Sequence[bool], rule: BoxSelection) -> list[int]:
    """Places of the people that the rule leaves of an image's boxes."""
    places = list(range(len(scores)))
    if rule == "top-100":
        places = sorted(places, key=lambda place: -scores[place])[:BEST]
    return [place for place in places if is_person[place]]


def require_all_categories(source: object, rule: BoxSelection) -> None:
    """Refuse the rule of the best boxes for a network that knows no other category.

    Raises:
        DetectorError: naming `source`.
    """
    if rule == "top-100":
        raise DetectorError(
            f"{source} sees people alone, so nobody can tell who is among the best {BEST} of all categories;"
            " use the rule people"
        )


def choose_people(
    corners_image: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    is_person: Bool[np.ndarray, " N"],
    rule: BoxSelection,
) -> list[Detection]:
    """The people that the rule leaves of a network's boxes, without those that are empty inside the image.

    Args:
        corners_image: left, top, right, bottom, cut off at the borders of the image.
        scores: of the boxes.
        is_person: whether each is one.
        rule: which people count.
    """
    corner, extent = corners_image[:, :2], corners_image[:, 2:] - corners_image[:, :2]
    is_usable = (extent >= _MIN_SIDE).all(1)
    return [
        Detection(Box(*corner[place].tolist(), *extent[place].tolist()), min(1.0, float(scores[place])))
        for place in select_people(scores.tolist(), is_person.tolist(), rule)
        if is_usable[place]
    ]
