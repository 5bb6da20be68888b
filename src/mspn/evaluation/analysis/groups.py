"""Average precision by group of people: by number of labels, overlap with neighbors, and size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mspn.evaluation.analysis.gains import leave_out
from mspn.evaluation.matching import UNMATCHED, Matching
from mspn.evaluation.metrics.average_precision import average_precision
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.boxes import iou, to_xyxy
from mspn.structures.settings import Settings
from mspn.structures.skeleton import Skeleton

_MIN_LABELED_KEYPOINTS = (1, 6, 11, 16)
_MIN_IOUS = (0.0, 0.1, 0.5)
_MIN_SIDES_PX = (0.0, 32.0, 64.0, 96.0, 192.0)
"""32 and 96 are COCO's limits of medium and large people."""


class GroupPrecision(Settings):
    """A row of a table of groups."""

    quality: str
    """The criterion: "labeled keypoints", "overlap of boxes" or "size"."""
    name: str
    people: int
    AP: float


def evaluate_groups(
    ground_truth: CocoPeople, results: Sequence[dict[str, Any]], matching: Matching, skeleton: Skeleton
) -> tuple[GroupPrecision, ...]:
    """AP by number of labeled keypoints, by the largest overlap with another person's box, and by size.

    A group is scored on its people and the predictions matched with them. Unmatched predictions belong to no group, so
    all groups may have a higher AP than the whole set. Groups without people are left out.
    """
    criteria = [
        (
            "labeled keypoints",
            (ground_truth.keypoints_image[..., 2] > 0).sum(1).astype(float),
            _MIN_LABELED_KEYPOINTS,
            "",
        ),
        ("overlap of boxes", _largest_overlaps(ground_truth), _MIN_IOUS, ""),
        ("size", np.sqrt([row.area or 0.0 for row in ground_truth.annotations]), _MIN_SIDES_PX, " px"),
    ]
    rows = []
    for quality, values, limits, unit in criteria:
        for low, high in zip(limits, (*limits[1:], np.inf), strict=True):
            is_member = matching.is_counted & (values >= low) & (values < high)
            if not is_member.any():
                continue
            people = leave_out(ground_truth, ~is_member)
            matched = [
                row
                for row, person in zip(results, matching.person_of, strict=True)
                if person != UNMATCHED and is_member[person]
            ]
            precision = average_precision(people, matched, skeleton)["AP"]
            name = _name_range(low, high, whole=quality == "labeled keypoints") + unit
            rows.append(GroupPrecision(quality=quality, name=name, people=int(is_member.sum()), AP=precision))
    return tuple(rows)


def _name_range(low: float, high: float, *, whole: bool) -> str:
    if high == np.inf:
        return f"from {low:g}"
    if low == 0:
        return f"below {high:g}"
    return f"{low:g} to {high - 1 if whole else high:g}"


def _largest_overlaps(ground_truth: CocoPeople) -> Float[np.ndarray, " N"]:
    """Highest IoU of each person's box with another box of the image; crowds left out."""
    largest = np.zeros(len(ground_truth.annotations))
    by_image: dict[int, list[int]] = {}
    for position, row in enumerate(ground_truth.annotations):
        if not row.iscrowd:
            by_image.setdefault(row.image_id, []).append(position)
    for positions in by_image.values():
        boxes = [ground_truth.annotations[position].bbox for position in positions]
        corners = to_xyxy(boxes)
        overlaps = iou(corners[:, None], corners)
        np.fill_diagonal(overlaps, 0.0)
        largest[positions] = overlaps.max(1)
    return largest
