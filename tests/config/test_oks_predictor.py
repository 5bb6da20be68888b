import json
import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mspn.config.protocol import OksPredictor, ScoreCalibration, pose_features


def _predictor(**changes: Any) -> OksPredictor:
    """Of two keypoints, left and right; the first hidden unit is the left one's x, the second minus it."""
    values = {
        "layers": [
            {"weights": [[0, 0, 1, 0, 0, 0], [0, 0, -1, 0, 0, 0]], "biases": [0, 0]},
            {"weights": [[0, 0], [0, 0], [1, 0], [0, 1]], "biases": [0, math.log(3), 0, 0]},
        ],
        "people": 7,
    }
    return OksPredictor.model_validate(values | changes)


def test_features_are_log_odds_then_places_around_the_weighted_center():
    # Weights are 1/4 and 3/4: the center is (30, 20), distances are 30 and 10, the spread is sqrt(225 + 75).
    keypoints, peaks = np.array([[[0.0, 20], [40, 20]]]), np.array([[0.25, 0.75]])

    features = pose_features(keypoints, peaks)

    spread = math.sqrt(300)
    np.testing.assert_allclose(features, [[-math.log(3), math.log(3), -30 / spread, 0, 10 / spread, 0]], atol=1e-12)
    np.testing.assert_allclose(pose_features(keypoints * 7 - 100, peaks), features, atol=1e-12)


def test_a_pose_without_extent_and_peaks_has_finite_features():
    assert np.isfinite(pose_features(np.zeros((1, 2, 2)), np.zeros((1, 2)))).all()


def test_the_oks_is_the_weighted_mean_of_similarities_and_of_the_mirrored_pose():
    # Two equal peaks at x = 0 and 2 are at -1 and 1 in units of the spread. Hidden: 0 and 1 after ReLU. Log-odds of the
    # similarities are 0 and 1, odds of being labeled 1 and 3. Mirrored, left and right trade places: the same again.
    expected = (0.5 * 0.5 + 0.75 / (1 + math.exp(-1))) / 1.25

    oks = _predictor().predict(np.array([[[0.0, 0], [2, 0]]]), np.full((1, 2), 0.5), [1, 0])

    assert oks == pytest.approx([expected])
    # Without left and right, the mirrored pose is another one: log-odds 1 and 0.
    mirrored = (0.5 / (1 + math.exp(-1)) + 0.75 * 0.5) / 1.25
    oks = _predictor().predict(np.array([[[0.0, 0], [2, 0]]]), np.full((1, 2), 0.5), [0, 1])
    assert oks == pytest.approx([(expected + mirrored) / 2])


def test_layers_that_do_not_fit_are_refused():
    first, last = json.loads(_predictor().model_dump_json())["layers"]
    with pytest.raises(ValidationError, match="a layer of 2 inputs follows one of 4 outputs"):
        _predictor(layers=[first, last, last])
    with pytest.raises(ValidationError, match="2 inputs and 4 outputs are of no number of keypoints"):
        _predictor(layers=[last])
    with pytest.raises(ValidationError, match=r"a layer of 1 outputs has 2 rows of \[6\]"):
        _predictor(layers=[first | {"biases": [0]}, last])


def test_a_predictor_of_other_keypoints_is_refused():
    with pytest.raises(ValidationError, match="oks_predictor is of 2 keypoints, the offsets of 3"):
        ScoreCalibration(slope=1.0, offsets=(0.0,) * 3, people=1, oks_predictor=_predictor())
