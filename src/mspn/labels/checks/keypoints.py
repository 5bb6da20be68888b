"""Rules about one person's keypoints, whatever they are called."""

from collections.abc import Iterator

import numpy as np

from mspn.labels.checks.findings import Finding
from mspn.labels.checks.label_table import LabelTable

_OUTSIDE_PX = 2.0
"""So far beyond the border is no finding: some tools count from 1, some clip to the width, not to width - 1."""
_FAR_SHARE = 0.5
"""Of the box's longer side; so far outside is no finding: some boxes are drawn around what is visible."""


def check_keypoints(table: LabelTable) -> Iterator[Finding]:
    """Keypoints that are no positions, or in impossible places."""
    yield from _check_numbers(table)
    yield from _check_emptiness(table)
    yield from _check_places(table)


def _check_numbers(table: LabelTable) -> Iterator[Finding]:
    people, names = table.labels.people, table.labels.skeleton.keypoints
    is_wrong = ~np.isin(table.visibility, (0, 1, 2))
    is_lost = (table.visibility > 0) & ~table.is_labeled

    def describe_visibility(index: int) -> str:
        column = int(np.flatnonzero(is_wrong[index])[0])
        return f"{names[column]} has visibility {people[index].keypoints_image[column, 2]:g}"

    def describe_position(index: int) -> str:
        column = int(np.flatnonzero(is_lost[index])[0])
        x, y, _ = people[index].keypoints_image[column]
        return f"{names[column]} is labeled at ({x:g}, {y:g})"

    yield from table.find("bad_visibility", np.any(is_wrong, axis=1), describe_visibility)
    yield from table.find("bad_number", np.any(is_lost, axis=1), describe_position)


def _check_emptiness(table: LabelTable) -> Iterator[Finding]:
    count = table.is_labeled.sum(1)
    is_person = ~np.array([person.is_crowd for person in table.labels.people], bool)
    yield from table.find("no_keypoints", is_person & (count == 0), lambda _: "no keypoint is labeled")
    declared = [person.extra.get("num_keypoints") for person in table.labels.people]
    differs = np.array(
        [number not in (None, found) for number, found in zip(declared, count.tolist(), strict=True)], bool
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


def _check_places(table: LabelTable) -> Iterator[Finding]:
    sizes = table.sizes[:, None]
    is_outside = np.any((table.points < -_OUTSIDE_PX) | (table.points > sizes + _OUTSIDE_PX), axis=-1)

    def describe_outside(index: int) -> str:
        where = table.points[index, int(np.flatnonzero(is_outside[index])[0])]
        names = table.name_keypoints(is_outside[index])
        return "{} at ({:.1f}, {:.1f}) in an image of {:.0f}x{:.0f} pixels".format(names, *where, *table.sizes[index])

    yield from table.find("outside_image", np.any(is_outside, axis=1), describe_outside)

    start = table.boxes[:, None, :2]
    distances = np.maximum(start - table.points, table.points - start - table.boxes[:, None, 2:]).max(-1)
    is_far = distances > _FAR_SHARE * table.extents[:, None]
    yield from table.find(
        "far_from_box",
        np.any(is_far, axis=1),
        lambda index: (
            f"{table.name_keypoints(is_far[index])} {np.fmax.reduce(distances[index]):.1f} pixels outside"
            f" the box of {table.boxes[index, 2]:.1f}x{table.boxes[index, 3]:.1f}"
        ),
    )
