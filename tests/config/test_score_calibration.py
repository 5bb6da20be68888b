import numpy as np
import pytest

from mspn.config.protocol import ScoreCalibration


def test_a_score_has_the_peaks_log_odds_times_the_slope_plus_the_keypoints_offset():
    calibration = ScoreCalibration(slope=2.0, offsets=(0.0, np.log(3)), people=1)

    # Odds of 0.5 are 1 and stay 1, or become 3; odds of 0.9 are 9, squared 81, or 243.
    np.testing.assert_allclose(
        calibration.scores(np.array([[0.5, 0.5], [0.9, 0.9]])), [[0.5, 0.75], [81 / 82, 243 / 244]]
    )


def test_peaks_beyond_0_and_1_have_scores_between_them():
    scores = ScoreCalibration(slope=1000.0, offsets=(700.0, -700.0), people=1).scores(np.array([[1.4, -0.2]]))

    np.testing.assert_array_equal(scores, [[1.0, 0.0]])


@pytest.mark.parametrize("slope", [0.0, -1.0, float("inf"), float("nan")])
def test_higher_peaks_must_mean_higher_scores(slope: float):
    with pytest.raises(ValueError, match="slope"):
        ScoreCalibration(slope=slope, offsets=(0.0,), people=1)
