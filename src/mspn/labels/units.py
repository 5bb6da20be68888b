"""Signs that labels, boxes or results are in other units than pixels, or boxes in another format."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mspn.structures.shapes import Float

logger = logging.getLogger(__name__)

_MIN_PEOPLE = 5
"""A smaller number of people says nothing about a set."""
_MIN_SHARE_CORNERS = 0.9
_MAX_BEYOND = 1.05
"""Of an image's side: so far may boxes and keypoints reach."""
_MAX_REACH_SMALL = 0.6
"""Nobody's keypoints reach further than this share of the image's width and height: the images are larger."""
_MAX_SCORE = 1.5
"""The released code's scores of keypoints carry 0.5 that ranks people."""


class SuspectUnits(NamedTuple):
    """Values that look like other units."""

    kind: str
    """As of findings of `mspn data check`, or "scores"."""
    message: str


def suspect_units(
    *,
    boxes: Float[np.ndarray, "N 4"] | None = None,
    points: Float[np.ndarray, "N K 2"] | None = None,
    sizes: Float[np.ndarray, "N 2"] | None = None,
    scores: Float[np.ndarray, " S"] | None = None,
) -> Iterator[SuspectUnits]:
    """Signs of shares instead of pixels, corners instead of sizes, another scale, or scores in percent.

    NaN stands for what is not known; what is left out is not looked at.

    Args:
        boxes: taken for left, top, width, height in image pixels.
        points: keypoints of the person in each box, taken for image pixels; NaN where they are not labeled.
        sizes: width and height of each person's image.
        scores: taken for 0 to 1.
    """
    count = max(len(values) for values in (boxes, points, sizes, ()) if values is not None)
    boxes = np.full((count, 4), np.nan) if boxes is None else boxes
    points = np.full((count, 1, 2), np.nan) if points is None else points
    sizes = np.full((count, 2), np.nan) if sizes is None else sizes
    normalized = next(
        (
            f"the coordinates of all {name} lie between {values.min():g} and {values.max():g}"
            for name, values in (("keypoints", points[~np.isnan(points)]), ("boxes", boxes[~np.isnan(boxes)]))
            if len(values) and abs(values).max() <= 1 and values.any()
        ),
        None,
    )
    if normalized is not None:
        yield SuspectUnits("normalized", normalized)
    else:
        high = np.fmax.reduce(points, axis=1)
        yield from _find_other_scale(high, sizes)
        yield from _find_corners(boxes, high, sizes)
    if scores is not None and len(scores) and (highest := float(np.nanmax(scores))) > _MAX_SCORE:
        yield SuspectUnits("scores", f"scores reach {highest:g}: they look like percent, not 0 to 1")


def warn_of_units(source: object, suspects: Iterator[SuspectUnits]) -> bool:
    """Log what `suspect_units` finds in a file, and return whether it finds anything.

    Args:
        source: name of the file in messages.
        suspects: of its values.
    """
    found = list(suspects)
    for suspect in found:
        logger.warning("%s: %s; %s", source, suspect.message, _EXPECTED[suspect.kind])
    return bool(found)


_EXPECTED = {
    "normalized": "pixels are expected, not shares of the image's sides",
    "other_scale": "are they of images of another size?",
    "corner_boxes": "[left, top, width, height] is expected",
    "scores": "write them from 0 to 1",
}


def _find_other_scale(high: Float[np.ndarray, "N 2"], sizes: Float[np.ndarray, "N 2"]) -> Iterator[SuspectUnits]:
    is_known = ~np.isnan(high[:, 0] + sizes[:, 0])
    if is_known.sum() < _MIN_PEOPLE:
        return
    reach = high[is_known] / sizes[is_known]
    beyond = float((reach > _MAX_BEYOND).any(1).mean())
    if beyond > 0.5:
        yield SuspectUnits("other_scale", f"{beyond:.0%} of the people have keypoints beyond the right or lower border")
    elif reach.max() < _MAX_REACH_SMALL:
        across, down = reach.max(0)
        message = (
            f"nobody's keypoints lie further right than {across:.0%} of the images' width, or lower than {down:.0%}"
        )
        yield SuspectUnits("other_scale", message)


def _find_corners(
    boxes: Float[np.ndarray, "N 4"], high: Float[np.ndarray, "N 2"], sizes: Float[np.ndarray, "N 2"]
) -> Iterator[SuspectUnits]:
    """Read as corners, boxes must fit the keypoints or the images better than read as they should be."""
    start, sides = boxes[:, :2], boxes[:, 2:]
    looks = "they look like [left, top, right, bottom]"
    is_corner = (sides > start).all(1)
    # Where a box starts at the image's corner, both readings are the same.
    is_telling = (start.max(1) > 0.1 * sides.max(1)) & ~np.isnan(high[:, 0])
    if is_telling.sum() >= _MIN_PEOPLE:
        fits = is_corner & (abs(sides - high).sum(1) < abs(start + sides - high).sum(1))
        share = float(fits[is_telling].mean())
        if share > _MIN_SHARE_CORNERS:
            message = f"in {share:.0%} of the boxes the third and fourth number are where the keypoints end"
            yield SuspectUnits("corner_boxes", f"{message}: {looks}")
            return
    is_known = ~np.isnan(sizes[:, 0] + boxes[:, 0])
    is_beyond = (start + sides > _MAX_BEYOND * sizes).any(1) & is_corner & (sides <= sizes).all(1)
    if is_known.any() and (share := float(is_beyond[is_known].mean())) >= _MIN_SHARE_CORNERS:
        yield SuspectUnits("corner_boxes", f"{share:.0%} of the boxes reach beyond the image: {looks}")
