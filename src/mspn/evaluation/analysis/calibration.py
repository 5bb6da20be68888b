"""Whether the score of a keypoint says how likely it is to be right."""

import numpy as np
from jaxtyping import Int

from mspn.evaluation.analysis.error_types import Outcome
from mspn.evaluation.matching import Matching
from mspn.structures.settings import Settings

NUM_BINS = 10


class ScoreBin(Settings):
    """Keypoints with scores in a tenth of 0 to 1."""

    keypoints: int
    mean_score: float
    share_right: float
    """Whose similarity with the labeled place is at least 0.5."""


class Calibration(Settings):
    """Scores against what they promise."""

    bins: tuple[ScoreBin | None, ...]
    """By rising score; None where no keypoint has such a score."""
    expected_error: float
    """Mean distance of score and share over the bins, weighted by keypoints (Guo et al., "On Calibration of Modern
    Neural Networks", ICML 2017)."""


def calibrate(matching: Matching, outcomes: Int[np.ndarray, "R K"]) -> Calibration | None:
    """Compare scores of keypoints with how many of them are right: those that are labeled, in predictions of somebody.

    Returns:
        None where there is nothing to compare, or where a score is not from 0 to 1: some systems write visibilities.
    """
    judged = outcomes != Outcome.UNLABELED
    scores = matching.keypoints_image[..., 2][judged]
    if not scores.size or scores.min() < 0 or scores.max() > 1:
        return None
    is_right = np.isin(outcomes[judged], (Outcome.GOOD, Outcome.JITTER))
    places = np.minimum((scores * NUM_BINS).astype(int), NUM_BINS - 1)
    bins: list[ScoreBin | None] = []
    for place in range(NUM_BINS):
        inside = places == place
        if not inside.any():
            bins.append(None)
            continue
        mean, share = float(scores[inside].mean()), float(is_right[inside].mean())
        bins.append(ScoreBin(keypoints=int(inside.sum()), mean_score=mean, share_right=share))
    distances = [one.keypoints * abs(one.mean_score - one.share_right) for one in bins if one is not None]
    return Calibration(bins=tuple(bins), expected_error=sum(distances) / scores.size)
