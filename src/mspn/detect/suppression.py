"""Leaving out boxes that show something a second time."""

import numpy as np
from jaxtyping import Float, Int

_MOST_BOXES = 3000
"""Of those that detectors propose, the best this many are looked at."""


def drop_overlapping(
    corners: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    categories: Int[np.ndarray, " N"],
    most_overlap: float,
) -> Int[np.ndarray, " kept"]:
    """Go through the boxes from the highest score down, and keep those that overlap none kept before.

    Args:
        corners: left, top, right, bottom.
        scores: of the boxes.
        categories: boxes of different ones do not compete.
        most_overlap: intersection over union that two boxes of a category may have.

    Returns:
        Places of the kept boxes, highest score first.
    """
    waiting = np.argsort(-scores, kind="stable")[:_MOST_BOXES]
    left, top, right, bottom = corners.T
    areas = (right - left) * (bottom - top)
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        width = np.minimum(right[best], right[waiting]) - np.maximum(left[best], left[waiting])
        height = np.minimum(bottom[best], bottom[waiting]) - np.maximum(top[best], top[waiting])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        is_other = (categories[waiting] != categories[best]) | (
            shared <= most_overlap * (areas[best] + areas[waiting] - shared)
        )
        waiting = waiting[is_other]
    return np.array(kept, dtype=int)
