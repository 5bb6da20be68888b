"""Average precision by kind of error, each corrected in turn, and by group of people."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mspn.evaluation.analysis.keypoint_errors import ERRORS
from mspn.evaluation.matching import UNMATCHED, Matching
from mspn.evaluation.metrics.average_precision import average_precision
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.boxes import iou, to_xyxy
from mspn.structures.settings import Settings
from mspn.structures.skeleton import Skeleton

Rows = Sequence[dict[str, Any]]


def estimate_gains(
    ground_truth: CocoPeople, results: Rows, matching: Matching, outcomes: Int[np.ndarray, "R K"], skeleton: Skeleton
) -> dict[str, float]:
    """AP gained by correcting one kind of error at a time.

    Returns:
        By kind: "jitter", "inversion", "swap" and "miss" (keypoints moved to their labels), "order" (each
        prediction scored by its similarity, so that the better one comes first), "background" (without predictions that
        match no person) and "missed" (without people who match no prediction; 0 without a match). Gains do not add up.
        That of "background" may be slightly negative, if a person's match is worse than an unmatched prediction.
    """

    def score(people: CocoPeople, rows: Rows) -> float:
        return average_precision(people, rows, skeleton)["AP"]

    before = score(ground_truth, results)
    gains = {}
    for kind in ERRORS:
        gains[kind.name.lower()] = (
            score(ground_truth, _correct_keypoints(ground_truth, results, matching, outcomes == kind)) - before
        )
    gains["order"] = score(ground_truth, _order_by_similarity(results, matching)) - before
    gains["background"] = score(ground_truth, _take(results, ~matching.is_background)) - before
    has_matches = bool((matching.person_of != UNMATCHED).any())
    gains["missed"] = score(leave_out(ground_truth, matching.is_missed), results) - before if has_matches else 0.0
    return gains


def leave_out(ground_truth: CocoPeople, left_out: Bool[np.ndarray, " N"]) -> CocoPeople:
    """The ground truth without the people for whom `left_out` is True."""
    kept = [row for row, is_out in zip(ground_truth.annotations, left_out, strict=True) if not is_out]
    return replace(ground_truth, annotations=kept, keypoints_image=ground_truth.keypoints_image[~left_out])


def _correct_keypoints(
    ground_truth: CocoPeople, results: Rows, matching: Matching, is_wrong: Bool[np.ndarray, "R K"]
) -> list[dict[str, Any]]:
    corrected = matching.keypoints_image.copy()
    matched = matching.person_of != UNMATCHED
    labeled_points = ground_truth.keypoints_image[matching.person_of[matched], :, :2]
    corrected[matched, :, :2] = np.where(is_wrong[matched, :, None], labeled_points, corrected[matched, :, :2])
    return [row | {"keypoints": points.ravel().tolist()} for row, points in zip(results, corrected, strict=True)]


def _order_by_similarity(results: Rows, matching: Matching) -> list[dict[str, Any]]:
    return [row | {"score": float(value)} for row, value in zip(results, matching.similarity, strict=True)]


def _take(results: Rows, chosen: Bool[np.ndarray, " R"]) -> list[dict[str, Any]]:
    return [row for row, is_chosen in zip(results, chosen, strict=True) if is_chosen]


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
