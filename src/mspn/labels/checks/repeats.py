"""The rule about people who were labeled twice."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from mspn.labels.checks.findings import Finding
from mspn.labels.checks.label_table import LabelTable
from mspn.structures.boxes import iou

_MIN_IOU_SAME = 0.95
"""Share of their union that two boxes of one person have in common."""
_SAME_DISTANCE = 0.03
"""Median distance between keypoints of one person who was labeled twice, as a share of the person's size."""
_MIN_IOU_CANDIDATE = 0.5
"""Below this, nobody is compared further."""
_MIN_COMMON = 3
"""With fewer common keypoints, the boxes decide."""


def check_repeats(table: LabelTable) -> Iterator[Finding]:
    """People who have the same keypoints as somebody before them in the same image, or the same box."""
    people = table.labels.people
    together: dict[int, list[int]] = defaultdict(list)
    for index, person in enumerate(people):
        if not person.is_crowd:
            together[person.image_id].append(index)
    corners = np.column_stack([table.boxes[:, :2], table.boxes[:, :2] + table.boxes[:, 2:]])
    corners = np.where(np.isnan(corners), np.column_stack([table.low, table.high]), corners)
    repeated: dict[int, str] = {}
    for indices in together.values():
        if len(indices) == 1:
            continue
        overlaps = iou(corners[indices][:, None], corners[indices])
        for row, column in np.argwhere(np.triu(overlaps > _MIN_IOU_CANDIDATE, 1)).tolist():
            first, second = indices[row], indices[column]
            likeness = _likeness(table, first, second, overlaps[row, column])
            if likeness is not None:
                repeated[second] = f"{likeness} as person {people[first].id}"
    yield from table.find("labeled_twice", np.isin(np.arange(len(people)), list(repeated)), lambda at: repeated[at])


def _likeness(table: LabelTable, first: int, second: int, overlap: float) -> str | None:
    distances = np.linalg.norm(table.points[first] - table.points[second], axis=-1)
    distances = distances[np.isfinite(distances)]
    if len(distances) < _MIN_COMMON:
        return f"the same box ({overlap:.0%} in common)" if overlap > _MIN_IOU_SAME else None
    middle = float(np.median(distances))
    if middle > _SAME_DISTANCE * table.extents[second]:
        return None
    return f"the same keypoints ({len(distances)} in common, {middle:.1f} pixels apart)"
