"""What keypoint scores say, compared with how many keypoints are good; and a calibration that makes the two agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mspn.config.protocol import ScoreCalibration, peak_log_odds
from mspn.errors import AnnotationError
from mspn.labels.label_set import LabeledSet, area_of
from mspn.structures.oks import keypoint_similarity
from mspn.structures.settings import Settings
from mspn.structures.shapes import Bool, Float
from mspn.structures.skeleton import Skeleton, convert_keypoints

MIN_SIMILARITY_GOOD = 0.85
NUM_BINS = 10
_MIN_KEYPOINTS = 100
"""With fewer, chance decides what the scores seem to mean."""
_PRIOR_WEIGHT = 1.0
"""Strength of the belief that the log-odds of peaks are right as they are; a hundred keypoints outweigh it."""
_NEWTON_STEPS = 50
_MAX_LAST_STEP = 1e-6


class ScoreBin(Settings):
    """Keypoints with scores in a tenth of 0 to 1."""

    keypoints: int
    mean_score: float
    share_good: float
    """Share of keypoints whose similarity with their label is at least 0.85."""


class Calibration(Settings):
    """Scores compared with the share of good keypoints."""

    bins: tuple[ScoreBin | None, ...]
    """By rising score; None where no keypoint has such a score."""
    expected_error: float
    """Mean distance of score and share over the bins, weighted by keypoints (Guo et al., "On Calibration of Modern
    Neural Networks", ICML 2017)."""


def compare_scores(scores: Float[np.ndarray, " N"], is_good: Bool[np.ndarray, " N"]) -> Calibration:
    """Compare scores, 0 to 1, of at least one keypoint with the share of them that is good."""
    bin_indices = np.minimum((scores * NUM_BINS).astype(int), NUM_BINS - 1)
    bins: list[ScoreBin | None] = []
    for bin_index in range(NUM_BINS):
        inside = bin_indices == bin_index
        if not inside.any():
            bins.append(None)
            continue
        mean, share = float(scores[inside].mean()), float(is_good[inside].mean())
        bins.append(ScoreBin(keypoints=int(inside.sum()), mean_score=mean, share_good=share))
    distances = [
        score_bin.keypoints * abs(score_bin.mean_score - score_bin.share_good)
        for score_bin in bins
        if score_bin is not None
    ]
    return Calibration(bins=tuple(bins), expected_error=sum(distances) / scores.size)


@dataclass(frozen=True, eq=False)
class JudgedKeypoints:
    """Predicted keypoints of N people."""

    keypoints_image: Float[np.ndarray, "N K 2"]
    scores: Float[np.ndarray, "N K"]
    is_labeled: Bool[np.ndarray, "N K"]
    similarity: Float[np.ndarray, "N K"]
    """With the label; 0 where there is none."""

    @property
    def is_good(self) -> Bool[np.ndarray, "N K"]:
        """Whether the similarity with the label is at least 0.85."""
        good: Bool[np.ndarray, "N K"] = self.similarity >= MIN_SIMILARITY_GOOD
        return good

    def compare(self) -> Calibration:
        """Scores of the labeled keypoints compared with the share of them that is good."""
        return compare_scores(self.scores[self.is_labeled], self.is_good[self.is_labeled])


def judge_people(labels: LabeledSet, results: Sequence[Mapping[str, Any]], skeleton: Skeleton) -> JudgedKeypoints:
    """Judge the keypoints that were predicted in the boxes of labeled people; crowds are left out.

    Args:
        labels: the people.
        results: COCO results list whose rows have the `annotation_id` of their person.
        skeleton: of the results.

    Raises:
        AnnotationError: if not one of these keypoints is labeled.
    """
    predictions = {row["annotation_id"]: np.reshape(row["keypoints"], (-1, 3)) for row in results}
    people = [person for person in labels.people if person.id in predictions and not person.is_crowd]
    predicted = np.array([predictions[person.id] for person in people]).reshape(-1, len(skeleton.keypoints), 3)
    labeled = convert_keypoints(
        np.array([person.keypoints_image for person in people]).reshape(-1, len(labels.skeleton.keypoints), 3),
        labels.skeleton,
        skeleton,
    )
    areas = np.array([area_of(person) for person in people])[:, None]
    is_labeled = (labeled[..., 2] > 0) & (areas > 0)
    if not is_labeled.any():
        raise AnnotationError(f"nobody of the {len(labels.people)} labeled people has a keypoint of {skeleton.name}")
    distances = np.linalg.norm(predicted[..., :2] - labeled[..., :2], axis=-1)
    similarity = keypoint_similarity(distances, np.where(areas > 0, areas, 1.0), np.array(skeleton.sigmas))
    return JudgedKeypoints(predicted[..., :2], predicted[..., 2], is_labeled, similarity * is_labeled)


def fit_calibration(judged: JudgedKeypoints, skeleton: Skeleton, *, shift: float) -> ScoreCalibration:
    """Fit what the peaks of heat maps mean: logistic regression on their log-odds, and on the kind of keypoint.

    Left and right are one kind. A kind with few labels differs little from the mean of all, one without not at all.

    Args:
        judged: keypoints whose scores are the peaks.
        skeleton: of them.
        shift: added to the offsets: below 0 for people whom the network has seen in training, whom it knows too well.

    Raises:
        AnnotationError: if too few keypoints are labeled, or higher peaks are right less often.
    """
    num_labeled = int(judged.is_labeled.sum())
    if num_labeled < _MIN_KEYPOINTS:
        raise AnnotationError(
            f"only {num_labeled} keypoints are labeled; calibration needs {_MIN_KEYPOINTS}, better thousands"
        )
    kinds = np.minimum(np.arange(len(skeleton.keypoints)), skeleton.mirror_order)
    is_of_kind = (kinds[:, None] == np.unique(kinds)).astype(float)  # (K, number of kinds)
    log_odds = peak_log_odds(judged.scores[judged.is_labeled])
    keypoints = np.nonzero(judged.is_labeled)[1]
    features = np.column_stack([log_odds, np.ones(num_labeled), is_of_kind[keypoints]])
    slope, offset, *deviations = _regress(features, judged.is_good[judged.is_labeled]).tolist()
    if slope <= 0:
        raise AnnotationError(
            "higher peaks of the heat maps are right less often; are these the labels of these images?"
        )
    return ScoreCalibration(
        slope=slope,
        offsets=tuple((is_of_kind @ deviations + offset + shift).tolist()),
        people=int(judged.is_labeled.any(1).sum()),
    )


def _regress(features: Float[np.ndarray, "N F"], is_good: Bool[np.ndarray, " N"]) -> Float[np.ndarray, " F"]:
    """Weights of a logistic regression by Newton's method; the prior is a weight of 1 for the first feature, else 0."""
    prior: Float[np.ndarray, " F"] = np.eye(features.shape[1])[0]
    weights = prior
    for _ in range(_NEWTON_STEPS):
        probability = np.exp(-np.logaddexp(0, -features @ weights))
        gradient = features.T @ (probability - is_good) + _PRIOR_WEIGHT * (weights - prior)
        hessian = (features.T * (probability * (1 - probability))) @ features + _PRIOR_WEIGHT * np.eye(len(prior))
        step: Float[np.ndarray, " F"] = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < _MAX_LAST_STEP:
            break
    return weights
