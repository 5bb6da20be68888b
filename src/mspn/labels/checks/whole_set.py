"""Rules about a set as a whole: mistakes that somebody made with every label."""

from collections.abc import Iterator

import numpy as np

from mspn.labels.checks.bodies import measure_facing
from mspn.labels.checks.findings import Finding
from mspn.labels.checks.label_table import LabelTable

_MIN_PEOPLE = 5
"""A smaller number of people says nothing about a set."""
_MIN_SHARE_CORNERS = 0.9
_MAX_REACH_SMALL = 0.6
"""Nobody's keypoints reach further than this share of the image's width and height: the images are larger."""
_MIN_SHARE_FACING = 0.4
"""In sets of people seen from all sides, about 7 of 10 face the camera."""
_MIN_FACING = 20


def check_whole_set(table: LabelTable) -> Iterator[Finding]:
    """Units, scale, the form of boxes, and the side that people turn to the camera."""
    yield from _check_units(table)
    yield from _check_corner_boxes(table)
    yield from _check_facing(table)


def _check_units(table: LabelTable) -> Iterator[Finding]:
    points = table.points[table.is_labeled]
    boxes = table.boxes[~np.isnan(table.boxes[:, 0])]
    for name, values in (("keypoints", points), ("boxes", boxes)):
        if len(values) and abs(values).max() <= 1 and values.any():
            yield Finding(
                "normalized", f"the coordinates of all {name} lie between {values.min():g} and {values.max():g}"
            )
            return
    is_known = ~np.isnan(table.high[:, 0] + table.sizes[:, 0])
    if is_known.sum() < _MIN_PEOPLE:
        return
    reach = table.high[is_known] / table.sizes[is_known]
    beyond = float((reach > 1.05).any(1).mean())
    if beyond > 0.5:
        yield Finding("other_scale", f"{beyond:.0%} of the people have keypoints beyond the right or lower border")
    elif reach.max() < _MAX_REACH_SMALL:
        across, down = reach.max(0)
        message = (
            f"nobody's keypoints lie further right than {across:.0%} of the images' width, or lower than {down:.0%}"
        )
        yield Finding("other_scale", message)


def _check_corner_boxes(table: LabelTable) -> Iterator[Finding]:
    """Read as corners, boxes must fit the keypoints better than read as they should be, for nearly everybody."""
    start, sides = table.boxes[:, :2], table.boxes[:, 2:]
    # Where a box starts at the image's corner, both readings are the same.
    is_telling = (start.max(1) > 0.1 * sides.max(1)) & ~np.isnan(table.high[:, 0])
    if is_telling.sum() < _MIN_PEOPLE:
        return
    error_as_corner = abs(sides - table.high).sum(1)
    error_as_size = abs(start + sides - table.high).sum(1)
    fits = (sides > start).all(1) & (error_as_corner < error_as_size)
    share = float(fits[is_telling].mean())
    if share > _MIN_SHARE_CORNERS:
        message = f"in {share:.0%} of the boxes the third and fourth number are where the keypoints end"
        yield Finding("corner_boxes", f"{message}: they look like right and bottom, not width and height")


def _check_facing(table: LabelTable) -> Iterator[Finding]:
    facing = measure_facing(table, "shoulder")
    facing = facing[np.isfinite(facing)]
    share = float((facing > 0).mean()) if len(facing) else 1.0
    if len(facing) >= _MIN_FACING and share < _MIN_SHARE_FACING:
        message = f"by their shoulders, {share:.0%} of {len(facing)} people face the camera; usually about 70 % do"
        yield Finding("mirrored_set", message)
