"""Settings of the test protocol: from a box to a crop, from heat maps to scored poses whose scores mean something."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat, PositiveFloat, field_validator, model_validator

from mspn.structures.settings import Settings
from mspn.structures.shapes import Float


class ProtocolConfig(Settings):
    """From heat maps to scored poses (paper Sec. 4.2 and the released code)."""

    padding: tuple[PositiveFloat, PositiveFloat] = (1.09, 1.135)
    """Factors on a box's width and height before it is fitted to the crop's shape."""
    flip: bool = True
    """Average with the heat maps of the mirrored crop."""
    mirror_shift: int = Field(0, ge=0, le=8)
    """Cells by which the mirrored crop's maps are moved to the right; 1 for decoder rounded."""
    blur_kernel: int = Field(5, ge=1, le=255)
    """Width of the Gaussian filter in cells; odd, 1 for none."""
    decoder: Literal["released", "mmpose", "rounded", "dark", "dark_filtered", "expected_oks"] = "released"
    """released: a quarter cell toward the second highest cell, as the paper; mmpose: a quarter cell along each axis
    toward the higher neighbor, none for peaks in the outer cells; rounded: the same for weights trained on keypoints
    rounded to the nearest cell (simple baseline), which lies at its corner then; dark: to the top of the parabola
    through the logarithm of the filtered map (Zhang et al. 2020), from the highest cell before the filter;
    dark_filtered: the same from the filtered map's highest cell; expected_oks: where COCO's similarity with the label
    is expected to be highest, by the map and the keypoint's sigma, without a filter; keypoints are scored by the
    geometric mean of the map's peak and that similarity."""
    score_offset: FiniteFloat = 0.5
    """Added to each keypoint's score before ranking."""
    rescoring: Literal["mean", "confident_mean", "weighted_mean", "predicted_oks", "box_only"] = "mean"
    """What ranks a pose: the box's score times the mean of its offset peaks; times the mean of those above 0.2
    (MMPose); times the mean of its keypoints' scores, each weighted by itself; times the square of its predicted
    OKS; or the box's score alone.

    weighted_mean is that of networks whose scores are calibrated: labels have the keypoints that can be seen, so those
    which probably cannot be hardly count. predicted_oks is that of networks with an `OksPredictor`, and the same as
    weighted_mean without."""
    suppression_oks: float | None = Field(None, gt=0, le=1)
    """Of two poses in an image that are more similar than this (OKS), the one ranked lower is left out; null: none is.
    Where others suppress, 0.9 is usual. Predictions have a default of their own, `PREDICTION_SUPPRESSION_OKS`."""

    @field_validator("blur_kernel")
    @classmethod
    def _check_blur_kernel(cls, width: int) -> int:
        if width % 2 == 0:
            raise ValueError(f"blur_kernel must be odd, not {width}")
        return width


PREDICTION_SUPPRESSION_OKS = 0.7
"""Takes the place of `suppression_oks` in predictions, where a person found twice is a mistake that people see."""

FAITHFUL_TEST = ProtocolConfig()
MMPOSE_TEST = ProtocolConfig(padding=(1.25, 1.25), decoder="mmpose")
SIMPLE_BASELINE_TEST = ProtocolConfig(
    padding=(1.25, 1.25), mirror_shift=1, blur_kernel=1, decoder="rounded", score_offset=0.0
)
"""Of published simple baselines, the authors' and MMPose's."""
PROTOCOLS = {"faithful": FAITHFUL_TEST, "mmpose": MMPOSE_TEST}


LOWEST_PEAK = 1e-3
"""And as far below 1 the highest: peaks beyond have the log-odds of these."""

_MAX_SLOPE = 1000


_Weight = Annotated[float, Field(ge=-1e4, le=1e4)]


class DenseLayer(Settings):
    """A fully connected layer."""

    weights: tuple[tuple[_Weight, ...], ...] = Field(min_length=1)
    """By output, then by input."""
    biases: tuple[_Weight, ...] = Field(min_length=1)
    """By output."""

    @model_validator(mode="after")
    def _check_shape(self) -> "DenseLayer":
        widths = {len(row) for row in self.weights}
        if len(self.weights) != len(self.biases) or len(widths) != 1:
            raise ValueError(f"a layer of {len(self.biases)} outputs has {len(self.weights)} rows of {sorted(widths)}")
        return self


class OksPredictor(Settings):
    """Predicts how similar a pose is with its label (COCO's OKS) from its keypoints and the peaks of their maps.

    Fully connected layers, with ReLU between them, say of each keypoint how probably it is labeled and how similar with
    its label it is then. The pose's OKS is the mean of these similarities, weighted by the probabilities; of a pose and
    its mirror image, the mean of both.

    Source: after the scoring network of DEKR (Geng et al., "Bottom-Up Human Pose Estimation via Disentangled Keypoint
    Regression", CVPR 2021), which predicts a pose's OKS in one number.
    """

    layers: tuple[DenseLayer, ...] = Field(min_length=1)
    """The first takes `pose_features`, the last gives log-odds: of being labeled, (K,), then of being right, (K,)."""
    people: int = Field(ge=1)
    """How many it was fitted to."""

    @model_validator(mode="after")
    def _check_layers(self) -> "OksPredictor":
        for previous, following in pairwise(self.layers):
            if len(following.weights[0]) != len(previous.biases):
                raise ValueError(
                    f"a layer of {len(following.weights[0])} inputs follows one of {len(previous.biases)} outputs"
                )
        num_inputs, num_outputs = len(self.layers[0].weights[0]), len(self.layers[-1].biases)
        if num_outputs % 2 or num_inputs * 2 != num_outputs * FEATURES_PER_KEYPOINT:
            raise ValueError(f"{num_inputs} inputs and {num_outputs} outputs are of no number of keypoints")
        return self

    @property
    def num_keypoints(self) -> int:
        return len(self.layers[-1].biases) // 2

    def predict(
        self, keypoints: Float[np.ndarray, "B K 2"], peaks: Float[np.ndarray, "B K"], mirror_order: Sequence[int]
    ) -> Float[np.ndarray, " B"]:
        """OKS of poses, 0 to 1.

        Args:
            keypoints: (x, y) in any frame that is not turned.
            peaks: of the heat maps.
            mirror_order: index of the keypoint that each one is in the mirror.
        """
        order = list(mirror_order)
        of_mirrored = self._predict_as_seen(keypoints[:, order] * [-1, 1], peaks[:, order])
        mean: Float[np.ndarray, " B"] = (self._predict_as_seen(keypoints, peaks) + of_mirrored) / 2
        return mean

    def _predict_as_seen(
        self, keypoints: Float[np.ndarray, "B K 2"], peaks: Float[np.ndarray, "B K"]
    ) -> Float[np.ndarray, " B"]:
        (weights, biases), *others = self._as_arrays.layers
        values = pose_features(keypoints, peaks) @ weights + biases
        for weights, biases in others:
            values = values.clip(min=0) @ weights + biases
        probabilities = 1 / (1 + np.exp(-values.clip(-_MAX_LOG_ODDS, _MAX_LOG_ODDS)))
        labeled, similarity = probabilities[:, : self.num_keypoints], probabilities[:, self.num_keypoints :]
        oks: Float[np.ndarray, " B"] = (labeled * similarity).sum(1) / labeled.sum(1)
        return oks

    @cached_property
    def _as_arrays(self) -> "_Arrays":
        return _Arrays([(np.array(layer.weights).T, np.array(layer.biases)) for layer in self.layers])


@dataclass(frozen=True, eq=False)
class _Arrays:
    """Layers to compute with; predictors are compared by their settings alone, since arrays have no truth value."""

    layers: list[tuple[Float[np.ndarray, "inputs outputs"], Float[np.ndarray, " outputs"]]]


FEATURES_PER_KEYPOINT = 3
_MAX_LOG_ODDS = 30
"""So that no probability is 0."""
_MIN_SPREAD = 1e-6


def pose_features(
    keypoints: Float[np.ndarray, "B K 2"], peaks: Float[np.ndarray, "B K"]
) -> Float[np.ndarray, "B features"]:
    """What an `OksPredictor` sees of poses: log-odds of the peaks, (K,), then x and y of each keypoint, (K, 2).

    Keypoints are taken from their center and divided by their spread, both weighted by the peaks, so that neither the
    person's place nor size matters.
    """
    log_odds = peak_log_odds(peaks)
    shares = peaks.clip(LOWEST_PEAK, 1)
    shares = (shares / shares.sum(1, keepdims=True))[..., None]
    centered = keypoints - (keypoints * shares).sum(1, keepdims=True)
    spread = np.sqrt((centered**2 * shares).sum((1, 2), keepdims=True)).clip(min=_MIN_SPREAD)
    features: Float[np.ndarray, "B features"] = np.concatenate(
        [log_odds, (centered / spread).reshape(len(peaks), -1)], axis=1
    )
    return features


class ScoreCalibration(Settings):
    """How often a keypoint is right, by the peak of its heat map; and what predicts the OKS of a pose.

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
    oks_predictor: OksPredictor | None = None
    """Ranks poses (test.rescoring=predicted_oks)."""

    @model_validator(mode="after")
    def _check_oks_predictor(self) -> "ScoreCalibration":
        if self.oks_predictor is not None and self.oks_predictor.num_keypoints != len(self.offsets):
            raise ValueError(
                f"oks_predictor is of {self.oks_predictor.num_keypoints} keypoints, the offsets of {len(self.offsets)}"
            )
        return self

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
