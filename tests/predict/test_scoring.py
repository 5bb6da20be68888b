import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mspn.config.protocol import FAITHFUL_TEST, DenseLayer, OksPredictor, ScoreCalibration
from mspn.heatmaps.decode import Decoded
from mspn.predict.top_down import make_poses
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.crop import CropFrame
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17


def _make(scores: list[float], **changes: object) -> list[Pose]:
    """Two people with these keypoint scores, zero for the rest, in boxes of score 0.5 and 0.25."""
    test = FAITHFUL_TEST.model_copy(update=changes)
    raw = torch.zeros(2, 17)
    raw[:, : len(scores)] = torch.tensor(scores)
    points = torch.arange(2 * 17 * 2.0).reshape(2, 17, 2)
    frames = [CropFrame((50.0, 60.0), 48.0, Size(256, 192)), CropFrame((10.0, 20.0), 96.0, Size(256, 192))]
    detections = [Detection(Box(0, 0, 10, 20), 0.5), Detection(Box(5, 5, 10, 20), 0.25)]
    return make_poses(detections, frames, Decoded(points, raw).in_crop(), COCO_17, test, None)


def test_each_person_is_put_back_by_their_own_frame():
    # Cell (0, 1) is crop pixel (2, 6): (2 - 96) / 4 + 50 and (6 - 128) / 4 + 60. The second person's first keypoint is
    # in cell (34, 35), crop pixel (138, 142), two crop pixels an image pixel.
    first, second = _make([])

    np.testing.assert_allclose(first.keypoints_image[0], [26.5, 29.5])
    np.testing.assert_allclose(second.keypoints_image[0], [31.0, 27.0])


def test_people_see_clipped_scores():
    (pose, _) = _make([1.2, -0.1, 0.5])

    np.testing.assert_allclose(pose.keypoint_scores[:4], [1.0, 0.0, 0.5, 0.0])
    assert pose.score == pytest.approx(0.5 * 1.5 / 17)


def test_calibrated_scores_rate_a_pose_and_peaks_rank_it():
    peaks = Decoded(torch.zeros(1, 17, 2), torch.full((1, 17), 0.8)).in_crop()
    frame = CropFrame((50.0, 60.0), 48.0, Size(256, 192))
    # Odds of 4 for a peak of 0.8; half of it for the nose.
    calibration = ScoreCalibration(slope=1.0, offsets=(-np.log(2), *[0.0] * 16), people=1)

    (pose,) = make_poses([Detection(Box(0, 0, 10, 20), 0.5)], [frame], peaks, COCO_17, FAITHFUL_TEST, calibration)

    np.testing.assert_allclose(pose.keypoint_scores, [2 / 3, *[0.8] * 16])
    assert pose.score == pytest.approx(0.5 * (2 / 3 + 16 * 0.8) / 17)
    assert pose.ranking_score == pytest.approx(0.5 * (0.8 + 0.5))


def test_weighted_by_themselves_calibrated_scores_rank_a_pose():
    peaks = Decoded(torch.zeros(1, 17, 2), torch.full((1, 17), 0.8)).in_crop()
    frame = CropFrame((50.0, 60.0), 48.0, Size(256, 192))
    calibration = ScoreCalibration(slope=1.0, offsets=(-np.log(2), *[0.0] * 16), people=1)
    test = FAITHFUL_TEST.model_copy(update={"rescoring": "weighted_mean"})

    (pose,) = make_poses([Detection(Box(0, 0, 10, 20), 0.5)], [frame], peaks, COCO_17, test, calibration)

    # A nose of 2/3 and sixteen others of 0.8: (4/9 + 16 * 0.64) / (2/3 + 16 * 0.8) = 10.6844 / 13.4667.
    assert pose.ranking_score == pytest.approx(0.5 * 0.793399, abs=1e-6)


def test_the_predicted_oks_ranks_a_pose_where_the_weights_have_a_predictor():
    peaks = Decoded(torch.zeros(1, 17, 2), torch.full((1, 17), 0.8)).in_crop()
    frame = CropFrame((50.0, 60.0), 48.0, Size(256, 192))
    # Odds of being right are 4 for all keypoints of all poses.
    layer = DenseLayer(weights=((0.0,) * 51,) * 34, biases=(0.0,) * 17 + (np.log(4),) * 17)
    test = FAITHFUL_TEST.model_copy(update={"rescoring": "predicted_oks"})
    without = ScoreCalibration(slope=1.0, offsets=(-np.log(4),) * 17, people=1)
    predicting = without.model_copy(update={"oks_predictor": OksPredictor(layers=(layer,), people=1)})
    detections = [Detection(Box(0, 0, 10, 20), 0.5)]

    (ranked,), (other,) = (
        make_poses(detections, [frame], peaks, COCO_17, test, calibration) for calibration in (predicting, without)
    )

    assert ranked.ranking_score == pytest.approx(0.5 * 0.8**2)
    assert other.ranking_score == pytest.approx(0.5 * 0.5)  # as weighted_mean
    assert ranked.score == other.score == pytest.approx(0.5 * 0.5)


def test_a_predictor_of_extreme_numbers_ranks_with_a_number():
    layer = DenseLayer(weights=((1e4,) * 51,) * 34, biases=(-1e4,) * 34)
    predictor = OksPredictor(layers=(layer,), people=1)

    oks = predictor.predict(np.zeros((1, 17, 2)), np.full((1, 17), 0.1), COCO_17.mirror_order)

    assert 0 <= oks[0] < 1e-9


def test_predictors_are_compared_by_their_layers_also_after_a_prediction():
    one, same, other = (
        OksPredictor(layers=(DenseLayer(weights=((0.0,) * 51,) * 34, biases=(bias,) * 34),), people=1)
        for bias in (0.5, 0.5, 0.25)
    )
    for predictor in (one, same, other):
        predictor.predict(np.zeros((1, 17, 2)), np.full((1, 17), 0.5), COCO_17.mirror_order)

    assert one == same
    assert one != other


@pytest.mark.parametrize("number", [1e5, -1e300, float("nan")])
def test_numbers_of_a_predictor_that_no_training_gives_are_refused(number: float):
    with pytest.raises(ValidationError, match="biases"):
        DenseLayer(weights=((0.0,),), biases=(number,))


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({}, 1.6 / 17 + 0.5),
        ({"score_offset": 0.0}, 1.6 / 17),
        ({"score_offset": 0.0, "rescoring": "confident_mean"}, 1.5 / 2),
        ({"rescoring": "confident_mean"}, 1.6 / 17 + 0.5),  # with the offset all of them count
        ({"score_offset": -1.0, "rescoring": "confident_mean"}, 0.0),
        ({"rescoring": "weighted_mean"}, (0.9**2 + 0.6**2 + 0.1**2) / 1.6),
        ({"rescoring": "box_only"}, 1.0),
    ],
)
def test_a_pose_is_ranked_by_the_boxs_score_times_what_the_protocol_says(changes: dict[str, object], factor: float):
    first, second = _make([0.9, 0.6, 0.1], **changes)

    assert first.ranking_score == pytest.approx(0.5 * factor)
    assert second.ranking_score == pytest.approx(0.25 * factor)


def test_keypoints_are_confident_above_a_score_of_a_fifth():
    first, _ = _make([0.9, 0.21, 0.19], score_offset=0.0, rescoring="confident_mean")

    assert first.ranking_score == pytest.approx(0.5 * (0.9 + 0.21) / 2)
