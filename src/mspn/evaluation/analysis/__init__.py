"""Error analysis: kinds of keypoint error, the AP gained by correcting each, groups of people, calibration."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from mspn.evaluation.analysis.breakdown import GroupPrecision, estimate_gains, evaluate_groups
from mspn.evaluation.analysis.calibration import Calibration
from mspn.evaluation.analysis.keypoint_errors import Outcome, calibrate, judge_keypoints
from mspn.evaluation.matching import Matching, match_people
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.settings import Settings
from mspn.structures.skeleton import Skeleton


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
