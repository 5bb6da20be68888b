"""Average precision that each kind of error costs: the error is corrected and everything is scored again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from mspn.evaluation.analysis.error_types import ERRORS
from mspn.evaluation.matching import UNMATCHED, Matching
from mspn.evaluation.metrics.average_precision import average_precision
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.skeleton import Skeleton

Rows = Sequence[dict[str, Any]]


def estimate_gains(
    ground_truth: CocoPeople, results: Rows, matching: Matching, outcomes: Int[np.ndarray, "R K"], skeleton: Skeleton
) -> dict[str, float]:
    """AP gained by correcting one kind of error at a time.

    Returns:
        By kind: "jitter", "inversion", "swap" and "miss" (those keypoints moved to their labels), "order" (each
        prediction scored by its similarity, so that the better one comes first), "background" (without predictions that
        match nobody) and "missed" (without people who match no prediction; 0 if nobody matches). Gains do not add up.
        Without background, AP may even fall a little, where a person's match is worse than a prediction left over.
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
