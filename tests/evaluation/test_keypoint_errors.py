from pathlib import Path

import pytest

from mspn.evaluation.analysis import Outcome, calibrate, judge_keypoints
from mspn.evaluation.calibration import Calibration, ScoreBin
from mspn.evaluation.matching import match_people
from mspn.structures.skeleton import COCO_17
from tests.evaluation.posed_people import SHOULDERS, Labels, ground_truth_of, labeled, predicted

# Good for the similarity of the pose, whatever happens to a shoulder.
HIPS: Labels = {"left_hip": (190, 300, 2), "right_hip": (110, 300, 2)}
BODY: Labels = {**SHOULDERS, **HIPS}


def _judge(folder: Path, left_shoulder: tuple[float, float]) -> Outcome:
    """A prediction that is right but for its left shoulder; somebody else's shoulders are 300 px to the right."""
    other = {name: (x + 300, y, seen) for name, (x, y, seen) in BODY.items()}
    ground_truth = ground_truth_of(folder, [labeled(1, 1, BODY), labeled(2, 1, other)])
    results = [predicted(1, {**BODY, "left_shoulder": (*left_shoulder, 1)}, 0.9), predicted(1, other, 0.8)]
    outcomes = judge_keypoints(ground_truth, match_people(ground_truth, results, COCO_17), COCO_17)
    return Outcome(outcomes[0, COCO_17.keypoints.index("left_shoulder")])


def test_a_keypoint_is_good_from_a_similarity_of_085(tmp_path: Path):
    # exp(-(9 / 15.8)^2 / 2) = 0.8502; at 9.1 px it is 0.8472.
    assert _judge(tmp_path, (209, 100)) == Outcome.GOOD
    assert _judge(tmp_path, (209.1, 100)) == Outcome.JITTER


def test_a_keypoint_jitters_down_to_a_similarity_of_one_half(tmp_path: Path):
    # 15.8 px * sqrt(2 ln 2) = 18.60 px.
    assert _judge(tmp_path, (218.5, 100)) == Outcome.JITTER
    assert _judge(tmp_path, (218.7, 100)) == Outcome.MISS


def test_a_keypoint_at_the_place_of_the_other_side_is_inverted(tmp_path: Path):
    assert _judge(tmp_path, (105, 100)) == Outcome.INVERSION


def test_a_keypoint_at_somebody_elses_is_swapped_on_either_side(tmp_path: Path):
    assert _judge(tmp_path, (505, 100)) == Outcome.SWAP
    assert _judge(tmp_path, (405, 100)) == Outcome.SWAP


def test_a_keypoint_at_another_part_of_the_body_is_a_miss(tmp_path: Path):
    assert _judge(tmp_path, (190, 300)) == Outcome.MISS


def test_unlabeled_keypoints_and_predictions_of_nobody_are_not_judged(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS)])
    far = dict.fromkeys(COCO_17.keypoints, (900, 900, 1))
    results = [predicted(1, SHOULDERS, 0.9), predicted(1, far, 0.8)]

    outcomes = judge_keypoints(ground_truth, match_people(ground_truth, results, COCO_17), COCO_17)

    shoulders = [COCO_17.keypoints.index(name) for name in SHOULDERS]
    assert (outcomes[0, shoulders] == Outcome.GOOD).all()
    assert (outcomes == Outcome.UNLABELED).sum() == 2 * 17 - 2


def _calibrate(folder: Path, left_score: float, right_score: float) -> Calibration | None:
    """The left shoulder is right, the right one is missed."""
    ground_truth = ground_truth_of(folder, [labeled(1, 1, SHOULDERS)])
    points = {"left_shoulder": (200, 100, left_score), "right_shoulder": (100, 200, right_score)}
    matching = match_people(ground_truth, [predicted(1, points, 0.9)], COCO_17)
    return calibrate(matching, judge_keypoints(ground_truth, matching, COCO_17))


def test_scores_of_one_bin_are_compared_with_the_share_that_is_good(tmp_path: Path):
    calibration = _calibrate(tmp_path, 0.74, 0.72)

    assert calibration is not None
    assert [one is None for one in calibration.bins] == [True] * 7 + [False] + [True] * 2
    assert calibration.bins[7] is not None
    assert calibration.bins[7].model_dump() == {
        "keypoints": 2,
        "mean_score": pytest.approx(0.73),
        "share_good": 0.5,
    }
    assert calibration.expected_error == pytest.approx(0.23)


def test_bins_weigh_as_many_keypoints_as_they_hold(tmp_path: Path):
    calibration = _calibrate(tmp_path, 1.0, 0.2)

    # |1 - 1| and |0.2 - 0|, a keypoint each; a score of 1 is in the last bin.
    assert calibration is not None
    assert calibration.expected_error == pytest.approx(0.1)
    assert calibration.bins[9] == ScoreBin(keypoints=1, mean_score=1.0, share_good=1.0)


def test_scores_that_are_visibilities_are_not_calibrated(tmp_path: Path):
    assert _calibrate(tmp_path, 2.0, 1.0) is None
