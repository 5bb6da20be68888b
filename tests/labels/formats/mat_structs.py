"""MATLAB structs for tests to write."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def struct_array(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """A 1 x N array of structs, as MATLAB has it; every row has the fields of the first."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for index, row in enumerate(rows):
        array[0, index] = tuple(row.values())
    return array
