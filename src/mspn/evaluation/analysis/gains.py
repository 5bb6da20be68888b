"""How much average precision each kind of error costs: the error is mended, and all is scored again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from mspn.evaluation.analysis.error_types import ERRORS
from mspn.evaluation.matching import NOBODY, Matching
from mspn.evaluation.metrics.average_precision import average_precision
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.skeleton import Skeleton

Rows = Sequence[dict[str, Any]]


def estimate_gains(
    truth: CocoPeople, results: Rows, matching: Matching, outcomes: Int[np.ndarray, "R K"], skeleton: Skeleton
) -> dict[str, float]:
    """AP that would be gained if one kind of error were gone and all others stayed.

    Returns:
        By kind: "jitter", "inversion", "swap" and "miss" (those keypoints at their labeled place), "order" (each
        prediction's score is its similarity, so that the better one comes first), "background" (predictions of nobody
        left out) and "missed" (people without a prediction left out of the truth; 0 if all are). Gains do not add up;
        without background, AP may even fall a little, where the prediction that took a person is worse than another.
    """

    def score(people: CocoPeople, rows: Rows) -> float:
        return average_precision(people, rows, skeleton)["AP"]

    before = score(truth, results)
    gains = {}
    for kind in ERRORS:
        gains[kind.name.lower()] = score(truth, _mend_keypoints(truth, results, matching, outcomes == kind)) - before
    gains["order"] = score(truth, _order_by_similarity(results, matching)) - before
    gains["background"] = score(truth, _take(results, ~matching.is_background)) - before
    someone_is_left = bool((matching.person_of != NOBODY).any())
    gains["missed"] = score(leave_out(truth, matching.is_missed), results) - before if someone_is_left else 0.0
    return gains


def leave_out(truth: CocoPeople, left_out: Bool[np.ndarray, " N"]) -> CocoPeople:
    """The truth without some of its people."""
    kept = [row for row, is_out in zip(truth.annotations, left_out, strict=True) if not is_out]
    return replace(truth, annotations=kept, keypoints_image=truth.keypoints_image[~left_out])


def _mend_keypoints(
    truth: CocoPeople, results: Rows, matching: Matching, is_wrong: Bool[np.ndarray, "R K"]
) -> list[dict[str, Any]]:
    mended = matching.keypoints_image.copy()
    matched = matching.person_of != NOBODY
    labeled_points = truth.keypoints_image[matching.person_of[matched], :, :2]
    mended[matched, :, :2] = np.where(is_wrong[matched, :, None], labeled_points, mended[matched, :, :2])
    return [row | {"keypoints": points.ravel().tolist()} for row, points in zip(results, mended, strict=True)]


def _order_by_similarity(results: Rows, matching: Matching) -> list[dict[str, Any]]:
    return [row | {"score": float(value)} for row, value in zip(results, matching.similarity, strict=True)]


def _take(results: Rows, chosen: Bool[np.ndarray, " R"]) -> list[dict[str, Any]]:
    return [row for row, is_chosen in zip(results, chosen, strict=True) if is_chosen]
