"""Rules about a person's box, area and keypoints, and about people who were labeled twice."""

import math
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from mspn.labels.checks.findings import Finding
from mspn.labels.checks.label_table import LabelTable
from mspn.structures.boxes import Box, iou

_MAX_BEYOND_SHARE = 0.05
"""A box may reach beyond the image by this share of its longer side."""
_MAX_AREA_RATIO = 1.01
"""Of a person's area and box, above 1 since files round both."""


def check_boxes(table: LabelTable) -> Iterator[Finding]:
    """Boxes that are empty or outside the image, and impossible areas."""
    yield from _check_box_shape(table)
    yield from _check_box_position(table)
    yield from _check_area(table)


def _check_box_shape(table: LabelTable) -> Iterator[Finding]:
    has_box = np.array([person.box is not None for person in table.labels.people], bool)
    is_bad = has_box & np.isnan(table.boxes[:, 0])
    yield from table.find("bad_box", is_bad, lambda index: f"box {_format_box(table.labels.people[index].box)}")


def _check_box_position(table: LabelTable) -> Iterator[Finding]:
    start = table.boxes[:, :2]
    end = start + table.boxes[:, 2:]
    is_outside = ((start >= table.sizes) | (end <= 0)).any(1)
    beyond = np.maximum(-start, end - table.sizes).max(1)
    is_beyond = ~is_outside & (beyond > 1) & (beyond > _MAX_BEYOND_SHARE * table.extents)

    def describe(index: int) -> str:
        width, height = table.sizes[index]
        return f"box {_format_box(table.labels.people[index].box)} in an image of {width:.0f}x{height:.0f} pixels"

    yield from table.find("box_outside", is_outside, describe)
    yield from table.find(
        "box_beyond_image", is_beyond, lambda index: f"{describe(index)}: {beyond[index]:.1f} pixels too far"
    )


def _check_area(table: LabelTable) -> Iterator[Finding]:
    areas = np.array([person.area for person in table.labels.people], object)
    is_missing = areas == None  # noqa: E711 (elementwise)
    if is_missing.all():
        # The format has no areas: readers derive them.
        return
    is_bad = is_missing | ~(np.isfinite(table.areas) & (table.areas > 0))
    yield from table.find("bad_area", is_bad, lambda index: f"area {_format_area(areas[index])}")
    box_areas = table.boxes[:, 2] * table.boxes[:, 3]
    yield from table.find(
        "large_area",
        table.areas > _MAX_AREA_RATIO * box_areas,
        lambda index: f"area {table.areas[index]:g} in a box of {box_areas[index]:.1f} square pixels",
    )


def _format_area(value: float | None) -> str:
    return "missing" if value is None else f"{value:g}"


def _format_box(box: Box | None) -> str:
    assert box is not None
    return "[" + ", ".join(str(round(value, 1)) if math.isfinite(value) else str(value) for value in box) + "]"


_MAX_OUTSIDE_PX = 2.0
"""Beyond the image's border: some tools count from 1, some clip to the width, not to width - 1."""
_MAX_FAR_SHARE = 0.5
"""Distance from the box, as a share of its longer side: some boxes are drawn around what is visible."""


def check_keypoints(table: LabelTable) -> Iterator[Finding]:
    """Keypoints that are not finite, missing, or at impossible positions."""
    yield from _check_numbers(table)
    yield from _check_emptiness(table)
    yield from _check_keypoint_positions(table)


def _check_numbers(table: LabelTable) -> Iterator[Finding]:
    people, names = table.labels.people, table.labels.skeleton.keypoints
    is_wrong = ~np.isin(table.visibility, (0, 1, 2))
    is_invalid = (table.visibility > 0) & ~table.is_labeled

    def describe_visibility(index: int) -> str:
        column = int(np.flatnonzero(is_wrong[index])[0])
        return f"{names[column]} has visibility {people[index].keypoints_image[column, 2]:g}"

    def describe_position(index: int) -> str:
        column = int(np.flatnonzero(is_invalid[index])[0])
        x, y, _ = people[index].keypoints_image[column]
        return f"{names[column]} is labeled at ({x:g}, {y:g})"

    yield from table.find("bad_visibility", np.any(is_wrong, axis=1), describe_visibility)
    yield from table.find("bad_number", np.any(is_invalid, axis=1), describe_position)


def _check_emptiness(table: LabelTable) -> Iterator[Finding]:
    count = table.is_labeled.sum(1)
    is_person = ~np.array([person.is_crowd for person in table.labels.people], bool)
    yield from table.find("no_keypoints", is_person & (count == 0), lambda _: "no keypoint is labeled")
    declared = [person.extra.get("num_keypoints") for person in table.labels.people]
    differs = np.array(
        [number not in (None, actual) for number, actual in zip(declared, count.tolist(), strict=True)], bool
    )
    yield from table.find(
        "wrong_count", differs, lambda index: f"num_keypoints is {declared[index]}, but {count[index]} are labeled"
    )
    is_point = (count > 1) & np.all(table.high == table.low, axis=1)
    at_origin = np.all(table.points == 0, axis=-1)
    yield from table.find(
        "at_origin",
        np.any(at_origin, axis=1),
        lambda index: f"{table.name_keypoints(at_origin[index])} labeled at exactly (0, 0)",
    )
    yield from table.find(
        "one_point",
        is_point & ~np.any(at_origin, axis=1),
        lambda index: "all {} keypoints at ({:g}, {:g})".format(count[index], *table.low[index]),
    )


def _check_keypoint_positions(table: LabelTable) -> Iterator[Finding]:
    sizes = table.sizes[:, None]
    is_outside = np.any((table.points < -_MAX_OUTSIDE_PX) | (table.points > sizes + _MAX_OUTSIDE_PX), axis=-1)

    def describe_outside(index: int) -> str:
        point = table.points[index, int(np.flatnonzero(is_outside[index])[0])]
        names = table.name_keypoints(is_outside[index])
        return "{} at ({:.1f}, {:.1f}) in an image of {:.0f}x{:.0f} pixels".format(names, *point, *table.sizes[index])

    yield from table.find("outside_image", np.any(is_outside, axis=1), describe_outside)

    start = table.boxes[:, None, :2]
    distances = np.maximum(start - table.points, table.points - start - table.boxes[:, None, 2:]).max(-1)
    is_far = distances > _MAX_FAR_SHARE * table.extents[:, None]
    yield from table.find(
        "far_from_box",
        np.any(is_far, axis=1),
        lambda index: (
            f"{table.name_keypoints(is_far[index])} {np.fmax.reduce(distances[index]):.1f} pixels outside"
            f" the box of {table.boxes[index, 2]:.1f}x{table.boxes[index, 3]:.1f}"
        ),
    )


_MIN_IOU_SAME = 0.95
"""Share of their union that two boxes of one person have in common."""
_MAX_DISTANCE_SAME = 0.03
"""Median distance between keypoints of one person who was labeled twice, as a share of the person's size."""
_MIN_IOU_CANDIDATE = 0.5
"""Pairs of a lower IoU are not compared."""
_MIN_COMMON_KEYPOINTS = 3
"""With fewer keypoints in common, the boxes decide."""


def check_repeats(table: LabelTable) -> Iterator[Finding]:
    """People with the same keypoints, or the same box, as an earlier person of the image."""
    people = table.labels.people
    by_image: dict[int, list[int]] = defaultdict(list)
    for index, person in enumerate(people):
        if not person.is_crowd:
            by_image[person.image_id].append(index)
    corners = np.column_stack([table.boxes[:, :2], table.boxes[:, :2] + table.boxes[:, 2:]])
    corners = np.where(np.isnan(corners), np.column_stack([table.low, table.high]), corners)
    repeated: dict[int, str] = {}
    for indices in by_image.values():
        if len(indices) == 1:
            continue
        overlaps = iou(corners[indices][:, None], corners[indices])
        for row, column in np.argwhere(np.triu(overlaps > _MIN_IOU_CANDIDATE, 1)).tolist():
            first, second = indices[row], indices[column]
            likeness = _likeness(table, first, second, overlaps[row, column])
            if likeness is not None:
                repeated[second] = f"{likeness} as person {people[first].id}"
    yield from table.find(
        "labeled_twice", np.isin(np.arange(len(people)), list(repeated)), lambda index: repeated[index]
    )


def _likeness(table: LabelTable, first: int, second: int, overlap: float) -> str | None:
    distances = np.linalg.norm(table.points[first] - table.points[second], axis=-1)
    distances = distances[np.isfinite(distances)]
    if len(distances) < _MIN_COMMON_KEYPOINTS:
        return f"the same box ({overlap:.0%} in common)" if overlap > _MIN_IOU_SAME else None
    middle = float(np.median(distances))
    if middle > _MAX_DISTANCE_SAME * table.extents[second]:
        return None
    return f"the same keypoints ({len(distances)} in common, {middle:.1f} pixels apart)"
