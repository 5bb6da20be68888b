from pathlib import Path

import pytest

from mspn.evaluation.analysis.calibration import Calibration, ScoreBin, calibrate
from mspn.evaluation.analysis.error_types import judge_keypoints
from mspn.evaluation.matching import match_people
from mspn.structures.skeletons import COCO_17
from tests.evaluation.posed_people import SHOULDERS, ground_truth_of, labeled, predicted


def _calibrate(folder: Path, left_score: float, right_score: float) -> Calibration | None:
    """The left shoulder is right, the right one is missed."""
    ground_truth = ground_truth_of(folder, [labeled(1, 1, SHOULDERS)])
    points = {"left_shoulder": (200, 100, left_score), "right_shoulder": (100, 200, right_score)}
    matching = match_people(ground_truth, [predicted(1, points, 0.9)], COCO_17)
    return calibrate(matching, judge_keypoints(ground_truth, matching, COCO_17))


def test_scores_of_one_bin_are_compared_with_the_share_that_is_right(tmp_path: Path):
    calibration = _calibrate(tmp_path, 0.74, 0.72)

    assert calibration is not None
    assert [one is None for one in calibration.bins] == [True] * 7 + [False] + [True] * 2
    assert calibration.bins[7] is not None
    assert calibration.bins[7].model_dump() == {
        "keypoints": 2,
        "mean_score": pytest.approx(0.73),
        "share_right": 0.5,
    }
    assert calibration.expected_error == pytest.approx(0.23)


def test_bins_weigh_as_many_keypoints_as_they_hold(tmp_path: Path):
    calibration = _calibrate(tmp_path, 1.0, 0.2)

    # |1 - 1| and |0.2 - 0|, a keypoint each; a score of 1 is in the last bin.
    assert calibration is not None
    assert calibration.expected_error == pytest.approx(0.1)
    assert calibration.bins[9] == ScoreBin(keypoints=1, mean_score=1.0, share_right=1.0)


def test_scores_that_are_visibilities_are_not_calibrated(tmp_path: Path):
    assert _calibrate(tmp_path, 2.0, 1.0) is None
