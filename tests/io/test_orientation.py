import numpy as np
import pytest

from mspn.io.images import turn_by_exif, turn_by_matrix

_STORED = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None].repeat(3, 2)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
        (99, [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_exif_orientations_are_turned_upright(orientation: int, upright: list[list[int]]):
    turned = turn_by_exif(_STORED, orientation)

    assert turned[..., 0].tolist() == upright
    assert turned.flags.c_contiguous


@pytest.mark.parametrize(
    ("a", "b", "c", "d", "upright"),
    [
        (1, 0, 0, 1, [[1, 2, 3], [4, 5, 6]]),
        # (x, y) goes to (-y, x): a quarter turn clockwise.
        (0, 1, -1, 0, [[4, 1], [5, 2], [6, 3]]),
        (0, -1, 1, 0, [[3, 6], [2, 5], [1, 4]]),
        (0, 1, 1, 0, [[1, 4], [2, 5], [3, 6]]),
        (-1, 0, 0, 1, [[3, 2, 1], [6, 5, 4]]),
    ],
)
def test_display_matrices_are_followed(a: int, b: int, c: int, d: int, upright: list[list[int]]):
    matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]

    assert turn_by_matrix(_STORED, matrix)[..., 0].tolist() == upright
