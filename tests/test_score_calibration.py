import math

import numpy as np
import pytest

from benchmarks.score_calibration import find_shift
from mspn.config.protocol import ScoreCalibration
from mspn.evaluation.calibration import JudgedKeypoints


def test_the_shift_makes_the_mean_score_the_share_of_good_keypoints():
    # Of four labeled keypoints with a score of 0.5 one is good: odds of 1 become 1/3. The fifth is not labeled.
    calibration = ScoreCalibration(slope=1.0, offsets=(0.0,), people=1)
    is_labeled = np.array([[True], [True], [True], [True], [False]])
    similarity = np.array([[0.9], [0.8], [0.7], [0.1], [0.0]])
    judged = JudgedKeypoints(np.zeros((5, 1, 2)), np.full((5, 1), 0.5), is_labeled, similarity)

    shift = find_shift(calibration, judged)

    assert shift == pytest.approx(-math.log(3))
