"""Rules about a set as a whole: mistakes that somebody made with every label."""

from collections.abc import Iterator

import numpy as np

from mspn.labels.checks.bodies import measure_facing
from mspn.labels.checks.findings import Finding
from mspn.labels.checks.label_table import LabelTable
from mspn.labels.units import find_doubts

_MIN_SHARE_FACING = 0.4
"""In sets of people seen from all sides, about 7 of 10 face the camera."""
_MIN_FACING = 20


def check_whole_set(table: LabelTable) -> Iterator[Finding]:
    """Units, scale, the form of boxes, and the side that people turn to the camera."""
    yield from _check_units(table)
    yield from _check_facing(table)


def _check_units(table: LabelTable) -> Iterator[Finding]:
    for doubt in find_doubts(boxes=table.boxes, points=table.points, sizes=table.sizes):
        yield Finding(doubt.kind, doubt.message)


def _check_facing(table: LabelTable) -> Iterator[Finding]:
    facing = measure_facing(table, "shoulder")
    facing = facing[np.isfinite(facing)]
    share = float((facing > 0).mean()) if len(facing) else 1.0
    if len(facing) >= _MIN_FACING and share < _MIN_SHARE_FACING:
        message = f"by their shoulders, {share:.0%} of {len(facing)} people face the camera; usually about 70 % do"
        yield Finding("mirrored_set", message)
