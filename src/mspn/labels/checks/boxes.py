"""Rules about one person's box and area."""

import math
from collections.abc import Iterator

import numpy as np

from mspn.labels.checks.findings import Finding
from mspn.labels.checks.label_table import LabelTable
from mspn.structures.boxes import Box

_BEYOND_SHARE = 0.05
"""A box may reach beyond the image by this share of its longer side."""
_AREA_SLACK = 1.01
"""Files round areas and boxes."""


def check_boxes(table: LabelTable) -> Iterator[Finding]:
    """Boxes that are empty or not where the image is, and areas that cannot be."""
    yield from _check_shape(table)
    yield from _check_place(table)
    yield from _check_area(table)


def _check_shape(table: LabelTable) -> Iterator[Finding]:
    has_box = np.array([person.box is not None for person in table.labels.people], bool)
    is_bad = has_box & np.isnan(table.boxes[:, 0])
    yield from table.find("bad_box", is_bad, lambda index: f"box {_written(table.labels.people[index].box)}")


def _check_place(table: LabelTable) -> Iterator[Finding]:
    start = table.boxes[:, :2]
    end = start + table.boxes[:, 2:]
    is_outside = ((start >= table.sizes) | (end <= 0)).any(1)
    beyond = np.maximum(-start, end - table.sizes).max(1)
    is_beyond = ~is_outside & (beyond > 1) & (beyond > _BEYOND_SHARE * table.extents)

    def describe(index: int) -> str:
        width, height = table.sizes[index]
        return f"box {_written(table.labels.people[index].box)} in an image of {width:.0f}x{height:.0f} pixels"

    yield from table.find("box_outside", is_outside, describe)
    yield from table.find(
        "box_beyond_image", is_beyond, lambda index: f"{describe(index)}: {beyond[index]:.1f} pixels too far"
    )


def _check_area(table: LabelTable) -> Iterator[Finding]:
    areas = np.array([person.area for person in table.labels.people], object)
    is_missing = areas == None  # noqa: E711 (elementwise)
    if is_missing.all():
        # The format has no areas, or nobody wrote them: readers make up for it.
        return
    is_bad = is_missing | ~(np.isfinite(table.areas) & (table.areas > 0))
    yield from table.find("bad_area", is_bad, lambda index: f"area {_number(areas[index])}")
    box_areas = table.boxes[:, 2] * table.boxes[:, 3]
    yield from table.find(
        "large_area",
        table.areas > _AREA_SLACK * box_areas,
        lambda index: f"area {table.areas[index]:g} in a box of {box_areas[index]:.1f} square pixels",
    )


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:g}"


def _written(box: Box | None) -> str:
    assert box is not None
    return "[" + ", ".join(str(round(value, 1)) if math.isfinite(value) else str(value) for value in box) + "]"
