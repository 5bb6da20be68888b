"""Average precision among people who have something in common: labels, neighbors, size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mspn.evaluation.analysis.gains import leave_out
from mspn.evaluation.matching import NOBODY, Matching
from mspn.evaluation.metrics.average_precision import average_precision
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.boxes import iou, to_xyxy
from mspn.structures.settings import Settings
from mspn.structures.skeleton import Skeleton

_LABELED = (1, 6, 11, 16)
_OVERLAPS = (0.0, 0.1, 0.5)
_SIDES_PX = (0.0, 32.0, 64.0, 96.0, 192.0)
"""32 and 96 are COCO's limits of medium and large people."""


class GroupPrecision(Settings):
    """A row of a table of groups."""

    quality: str
    """What tells the groups apart."""
    name: str
    people: int
    AP: float


def measure_groups(
    truth: CocoPeople, results: Sequence[dict[str, Any]], matching: Matching, skeleton: Skeleton
) -> tuple[GroupPrecision, ...]:
    """AP by number of labeled keypoints, by the largest overlap with another person's box, and by size.

    A group's truth is its people, and its results are the predictions of them. Predictions of nobody belong to no group
    and are left out, so that all groups may lie above the AP of the whole. Groups without people are left out too.
    """
    measured = [
        ("labeled keypoints", (truth.keypoints_image[..., 2] > 0).sum(1).astype(float), _LABELED, ""),
        ("overlap of boxes", _largest_overlaps(truth), _OVERLAPS, ""),
        ("size", np.sqrt([row.area or 0.0 for row in truth.annotations]), _SIDES_PX, " px"),
    ]
    rows = []
    for quality, values, limits, unit in measured:
        for low, high in zip(limits, (*limits[1:], np.inf), strict=True):
            is_member = matching.is_counted & (values >= low) & (values < high)
            if not is_member.any():
                continue
            people = leave_out(truth, ~is_member)
            own = [row for row, at in zip(results, matching.person_of, strict=True) if at != NOBODY and is_member[at]]
            precision = average_precision(people, own, skeleton)["AP"]
            name = _name_range(low, high, whole=quality == "labeled keypoints") + unit
            rows.append(GroupPrecision(quality=quality, name=name, people=int(is_member.sum()), AP=precision))
    return tuple(rows)


def _name_range(low: float, high: float, *, whole: bool) -> str:
    if high == np.inf:
        return f"from {low:g}"
    if low == 0:
        return f"below {high:g}"
    return f"{low:g} to {high - 1 if whole else high:g}"


def _largest_overlaps(truth: CocoPeople) -> Float[np.ndarray, " N"]:
    """Of each person's box with another's of the same image: intersection over union, crowds left out."""
    largest = np.zeros(len(truth.annotations))
    by_image: dict[int, list[int]] = {}
    for position, row in enumerate(truth.annotations):
        if not row.iscrowd:
            by_image.setdefault(row.image_id, []).append(position)
    for positions in by_image.values():
        boxes = [truth.annotations[position].bbox for position in positions]
        corners = to_xyxy(boxes)
        overlaps = iou(corners[:, None], corners)
        np.fill_diagonal(overlaps, 0.0)
        largest[positions] = overlaps.max(1)
    return largest
