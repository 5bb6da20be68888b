"""Settings that turn the peaks of heat maps into scores that mean something."""

import numpy as np
from jaxtyping import Float
from pydantic import Field, FiniteFloat

from mspn.structures.settings import Settings

LOWEST_PEAK = 1e-3
"""And as far below 1 the highest: peaks beyond have the log-odds of these."""

_MAX_SLOPE = 1000


class ScoreCalibration(Settings):
    """How often a keypoint is right, by the peak of its heat map.

    Right is a keypoint whose similarity with its label (COCO's OKS, of this keypoint alone) is at least 0.85. Its
    probability has the log-odds `slope` times those of the peak, plus the keypoint's own offset: eyes must lie much
    nearer to their label than hips to be as similar, so at equal peaks fewer of them are right.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999, with an offset for each kind of keypoint.
    """

    slope: float = Field(gt=0, le=_MAX_SLOPE, allow_inf_nan=False)
    offsets: tuple[FiniteFloat, ...] = Field(min_length=1)
    """By keypoint, in the network's order."""
    people: int = Field(ge=1)
    """How many it was fitted to."""

    def scores(self, peaks: Float[np.ndarray, "*people K"]) -> Float[np.ndarray, "*people K"]:
        """Probability that each keypoint is right, between 0 and 1, from the peaks of the heat maps."""
        log_odds = self.slope * peak_log_odds(peaks) + np.array(self.offsets)
        probability: Float[np.ndarray, "*people K"] = np.exp(-np.logaddexp(0, -log_odds))
        return probability


def peak_log_odds(peaks: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Log-odds of peaks as if they were probabilities; finite also for those from 1 on and from 0 down."""
    clipped = np.clip(peaks, LOWEST_PEAK, 1 - LOWEST_PEAK)
    log_odds: Float[np.ndarray, "*any"] = np.log(clipped / (1 - clipped))
    return log_odds
