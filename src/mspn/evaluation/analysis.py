"""Error analysis: kinds of keypoint error, the AP gained by correcting each, groups of people, calibration.

Kinds are jitter, inversion, swap and miss; the kinds and their limits are those of Ronchi & Perona, "Benchmarking
and Error Diagnosis in Multi-Instance Pose Estimation", ICCV 2017. Similar body parts, which may be confused, are the
left and the right one of a pair.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from mspn.evaluation.average_precision import average_precision
from mspn.evaluation.calibration import MIN_SIMILARITY_GOOD, Calibration, compare_scores
from mspn.evaluation.matching import UNMATCHED, Matching, match_people
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.boxes import iou, to_xyxy
from mspn.structures.oks import keypoint_similarity
from mspn.structures.settings import Settings
from mspn.structures.shapes import Bool, Float, Int
from mspn.structures.skeleton import Skeleton

MIN_SIMILARITY_NEAR = 0.5


class Outcome(IntEnum):
    """Of a predicted keypoint, by the keypoint's own similarity."""

    UNLABELED = -1
    """The keypoint is not labeled."""
    GOOD = 0
    """Similarity from 0.85 on."""
    JITTER = 1
    """Near its label, from 0.5 on."""
    INVERSION = 2
    """Not near it, but near the same person's keypoint of the other side."""
    SWAP = 3
    """Not near it, but near another person's keypoint of the same name or of the other side."""
    MISS = 4
    """Near none of them."""


ERRORS = (Outcome.JITTER, Outcome.INVERSION, Outcome.SWAP, Outcome.MISS)


def judge_keypoints(ground_truth: CocoPeople, matching: Matching, skeleton: Skeleton) -> Int[np.ndarray, "R K"]:
    """The `Outcome` of every keypoint of R predictions; UNLABELED in unmatched predictions.

    Where both the person's other side and another person are near, the nearer one decides.
    """
    outcomes = np.full(matching.keypoints_image.shape[:2], int(Outcome.UNLABELED))
    image_ids = np.array([row.image_id for row in ground_truth.annotations])
    for row in np.flatnonzero(matching.person_of != UNMATCHED):
        person = matching.person_of[row]
        points = matching.keypoints_image[row, :, :2]
        own, inverted = _similarities(ground_truth, person, points, skeleton)
        neighbors = np.flatnonzero((image_ids == image_ids[person]) & matching.is_counted)
        swapped = np.zeros_like(own)
        for neighbor in neighbors[neighbors != person]:
            swapped = np.maximum(swapped, np.maximum(*_similarities(ground_truth, neighbor, points, skeleton)))
        outcomes[row] = np.select(
            [
                ground_truth.keypoints_image[person, :, 2] == 0,
                own >= MIN_SIMILARITY_GOOD,
                own >= MIN_SIMILARITY_NEAR,
                np.maximum(inverted, swapped) < MIN_SIMILARITY_NEAR,
                inverted >= swapped,
            ],
            [Outcome.UNLABELED, Outcome.GOOD, Outcome.JITTER, Outcome.MISS, Outcome.INVERSION],
            Outcome.SWAP,
        )
    return outcomes


def _similarities(
    ground_truth: CocoPeople, person: int, points_image: Float[np.ndarray, "K 2"], skeleton: Skeleton
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Similarity of each point with the person's keypoint of its name, and of the other side; 0 where unlabeled."""
    labels, area = ground_truth.keypoints_image[person], ground_truth.annotations[person].area
    assert area is not None
    sigmas = np.array(skeleton.sigmas)
    order = np.array(skeleton.mirror_order)
    distances = np.linalg.norm(points_image - labels[:, :2], axis=-1)
    own = np.where(labels[:, 2] > 0, keypoint_similarity(distances, area, sigmas), 0.0)
    other_side = labels[order]
    distances = np.linalg.norm(points_image - other_side[:, :2], axis=-1)
    has_other_side = (order != np.arange(len(order))) & (other_side[:, 2] > 0)
    inverted = np.where(has_other_side, keypoint_similarity(distances, area, sigmas[order]), 0.0)
    return own, inverted


def calibrate(matching: Matching, outcomes: Int[np.ndarray, "R K"]) -> Calibration | None:
    """Compare scores of the labeled keypoints of matched predictions with the share of them that is good.

    Returns:
        None if there are none, or if a score is outside 0 to 1: some systems write visibilities instead.
    """
    judged = outcomes != Outcome.UNLABELED
    scores = matching.keypoints_image[..., 2][judged]
    if not scores.size or scores.min() < 0 or scores.max() > 1:
        return None
    return compare_scores(scores, outcomes[judged] == Outcome.GOOD)


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


class Analysis(Settings):
    """The analysis as it stands in a report."""

    people: int
    """Evaluated people: labeled, and no crowd."""
    missed: int
    """Of these, people without a prediction."""
    background: int
    """False positives: predictions that match no person."""
    keypoints: dict[str, dict[str, int]]
    """By name, how many of the labeled keypoints of predicted people are good, jitter, inversion, swap and miss."""
    gains: dict[str, float]
    """AP gained by correcting one kind of error, see `estimate_gains`."""
    groups: tuple[GroupPrecision, ...]
    calibration: Calibration | None


class Diagnosed(NamedTuple):
    """An analysis, with the matching and the outcomes it was computed from."""

    analysis: Analysis
    matching: Matching
    outcomes: Int[np.ndarray, "R K"]


def analyze(ground_truth: CocoPeople, results: Sequence[dict[str, Any]], skeleton: Skeleton) -> Diagnosed:
    """Find and count errors, and score again without each kind; this takes ten to fifteen times as long as scoring.

    Args:
        ground_truth: every person has an area.
        results: COCO results list of images of the ground truth.
        skeleton: of both.
    """
    matching = match_people(ground_truth, results, skeleton)
    outcomes = judge_keypoints(ground_truth, matching, skeleton)
    kinds = [kind for kind in Outcome if kind != Outcome.UNLABELED]
    counts = {
        name: {kind.name.lower(): int((outcomes[:, column] == kind).sum()) for kind in kinds}
        for column, name in enumerate(skeleton.keypoints)
    }
    analysis = Analysis(
        people=int(matching.is_counted.sum()),
        missed=int(matching.is_missed.sum()),
        background=int(matching.is_background.sum()),
        keypoints={name: row for name, row in counts.items() if sum(row.values())},
        gains=estimate_gains(ground_truth, results, matching, outcomes, skeleton),
        groups=evaluate_groups(ground_truth, results, matching, skeleton),
        calibration=calibrate(matching, outcomes),
    )
    return Diagnosed(analysis, matching, outcomes)
