"""Rules about a set as a whole: mistakes that somebody made with every label."""

from collections.abc import Iterator

import numpy as np

from mspn.labels.checks.bodies import measure_facing
from mspn.labels.checks.findings import Finding
from mspn.labels.checks.label_table import LabelTable
from mspn.labels.units import find_suspect_units
from mspn.structures.skeleton import match_keypoints
from mspn.structures.skeletons import SKELETONS

_MIN_SHARE_FACING = 0.4
"""In sets of people seen from all sides, about 7 of 10 face the camera."""
_MIN_FACING = 20


def check_whole_set(table: LabelTable) -> Iterator[Finding]:
    """Units, scale, the form of boxes, and the side that people turn to the camera."""
    yield from _check_units(table)
    yield from _check_facing(table)
    yield from _check_names(table)


def _check_names(table: LabelTable) -> Iterator[Finding]:
    """Names that are nearly those of a skeleton of ours: other spellings, and keypoints that it does not have."""
    names = table.labels.skeleton.keypoints
    matches = {known: match_keypoints(names, known.keypoints) for known in SKELETONS.values()}
    # Of several with as many names in common, the smallest, which has the fewest that are missing.
    known, matched = max(matches.items(), key=lambda match: (len(match[1]), -len(match[0].keypoints)))
    if known.keypoints == names or 2 * len(matched) < min(len(names), len(known.keypoints)):
        return
    spelled = ", ".join(f"{theirs!r} for {ours}" for ours, theirs in matched.items() if ours != theirs)
    unknown = ", ".join(name for name in names if name not in matched.values())
    parts = [f"{what}: {listed}" for what, listed in (("spelled", spelled), ("unknown", unknown)) if listed]
    if parts:
        yield Finding("keypoint_names", f"compared with {known.name}, {'; '.join(parts)}")


def _check_units(table: LabelTable) -> Iterator[Finding]:
    for suspect in find_suspect_units(boxes=table.boxes, points=table.points, sizes=table.sizes):
        yield Finding(suspect.kind, suspect.message)


def _check_facing(table: LabelTable) -> Iterator[Finding]:
    facing = measure_facing(table, "shoulder")
    facing = facing[np.isfinite(facing)]
    share = float((facing > 0).mean()) if len(facing) else 1.0
    if len(facing) >= _MIN_FACING and share < _MIN_SHARE_FACING:
        message = f"by their shoulders, {share:.0%} of {len(facing)} people face the camera; usually about 70 % do"
        yield Finding("mirrored_set", message)
