"""Why a network's average precision is what it is."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from mspn.data.coco import CocoPeople
from mspn.evaluate.calibration import Calibration, calibrate
from mspn.evaluate.errors import Outcome, judge_keypoints
from mspn.evaluate.gains import measure_gains
from mspn.evaluate.groups import GroupPrecision, measure_groups
from mspn.evaluate.matching import Matching, match_people
from mspn.settings import Settings
from mspn.skeleton import Skeleton


class Analysis(Settings):
    """What a report keeps of it."""

    people: int
    """To be found: labelled, and no crowd."""
    missed: int
    """Of these, people without a prediction."""
    background: int
    """Predictions of nobody."""
    keypoints: dict[str, dict[str, int]]
    """By name, how many of the labelled keypoints of predicted people are good, jitter, inversion, swap and miss."""
    gains: dict[str, float]
    """AP gained if a kind of error were gone, see `measure_gains`."""
    groups: tuple[GroupPrecision, ...]
    calibration: Calibration | None


class Diagnosed(NamedTuple):
    """An analysis, and who is whose prediction."""

    analysis: Analysis
    matching: Matching
    outcomes: Int[np.ndarray, "R K"]


def analyse(truth: CocoPeople, results: Sequence[dict[str, Any]], skeleton: Skeleton) -> Diagnosed:
    """Find and count errors, and score again without each kind; takes ten to fifteen times as long as scoring.

    Args:
        truth: everyone has an area.
        results: COCO results list of pictures of the truth.
        skeleton: of both.
    """
    matching = match_people(truth, results, skeleton)
    outcomes = judge_keypoints(truth, matching, skeleton)
    kinds = [kind for kind in Outcome if kind != Outcome.UNLABELLED]
    counts = {
        name: {kind.name.lower(): int((outcomes[:, column] == kind).sum()) for kind in kinds}
        for column, name in enumerate(skeleton.keypoints)
    }
    analysis = Analysis(
        people=int(matching.is_counted.sum()),
        missed=int(matching.is_missed.sum()),
        background=int(matching.is_background.sum()),
        keypoints={name: row for name, row in counts.items() if sum(row.values())},
        gains=measure_gains(truth, results, matching, outcomes, skeleton),
        groups=measure_groups(truth, results, matching, skeleton),
        calibration=calibrate(matching, outcomes),
    )
    return Diagnosed(analysis, matching, outcomes)
