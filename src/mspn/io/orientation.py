"""Turning images upright: as EXIF or a video's display matrix says."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

_EXIF_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""By orientation: whether rows and columns trade places, then whether rows, then columns, run backwards."""


def turn_by_exif(pixels: UInt8[np.ndarray, "H W 3"], orientation: int) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Turn an image upright whose EXIF says 1 (it is) to 8; other numbers mean nothing."""
    return _turn(pixels, *_EXIF_TURNS.get(orientation, _EXIF_TURNS[1]))


def turn_by_matrix(pixels: UInt8[np.ndarray, "H W 3"], matrix: Sequence[int]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Turn a frame upright by the quarter turn nearest to its display matrix.

    Args:
        pixels: as decoded.
        matrix: nine numbers (a b u, c d v, x y w) that send a stored point (x, y) to (a x + c y, b x + d y), as in
            libavutil's display.h.
    """
    a, b, _u, c, d = matrix[:5]
    if abs(b) + abs(c) > abs(a) + abs(d):
        return _turn(pixels, True, b < 0, c < 0)
    return _turn(pixels, False, d < 0, a < 0)


def _turn(pixels: np.ndarray, transposes: bool, flips_rows: bool, flips_columns: bool) -> np.ndarray:
    turned = pixels.swapaxes(0, 1) if transposes else pixels
    return np.ascontiguousarray(turned[:: -1 if flips_rows else 1, :: -1 if flips_columns else 1])
