"""Fits what ranks poses: a small network that predicts the OKS of a pose from its keypoints and their peaks."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from mspn.config.protocol import FEATURES_PER_KEYPOINT, DenseLayer, OksPredictor, pose_features
from mspn.errors import AnnotationError
from mspn.evaluation.calibration import JudgedKeypoints
from mspn.structures.shapes import Float
from mspn.structures.skeleton import Skeleton

MIN_PEOPLE = 100
"""With fewer, the network learns them by heart."""
_WIDTH = 64
_DROPOUT = 0.1
_EPOCHS = 20
_BATCH_SIZE = 128
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-3
_DIGITS = 4
_MIN_PROBABILITY = 1e-4


def fit_oks_predictor(sets: Sequence[JudgedKeypoints], skeleton: Skeleton) -> OksPredictor:
    """Fit a predictor to people of all sets, each as it is and mirrored; the same people always give the same one.

    Its loss is the cross entropy of whether each keypoint is labeled, of its similarity with its label, and of the
    pose's OKS. Keypoints that a set never labels do not count as unlabeled there.

    Args:
        sets: keypoints whose scores are the peaks.
        skeleton: of them.

    Raises:
        AnnotationError: if there are too few people.
    """
    people = _People(
        *(torch.cat(parts) for parts in zip(*(_people_of(judged, skeleton) for judged in sets), strict=True))
    )
    num_people = len(people.features) // 2
    if num_people < MIN_PEOPLE:
        raise AnnotationError(f"only {num_people} people are labeled; {MIN_PEOPLE} are needed, better thousands")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _train(people)
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    return OksPredictor(layers=tuple(map(_as_settings, layers)), people=num_people)


class _People(NamedTuple):
    """Poses with their labels."""

    features: Float[Tensor, "N features"]
    is_labeled: Float[Tensor, "N K"]
    similarity: Float[Tensor, "N K"]
    is_counted: Float[Tensor, "N K"]
    """0 for keypoints that the set never labels."""


def _people_of(judged: JudgedKeypoints, skeleton: Skeleton) -> _People:
    """The labeled people, first as they are, then mirrored."""
    order = list(skeleton.mirror_order)
    people = judged.is_labeled.any(1)
    keypoints, is_labeled = judged.keypoints_image[people], judged.is_labeled[people]

    def with_mirrored(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values[:, order]])

    features = pose_features(
        np.concatenate([keypoints, keypoints[:, order] * [-1, 1]]), with_mirrored(judged.scores[people])
    )
    is_counted = np.broadcast_to(is_labeled.any(0), is_labeled.shape)
    labels = (with_mirrored(values) for values in (is_labeled, judged.similarity[people], is_counted))
    return _People(*(torch.from_numpy(values).float() for values in (features, *labels)))


def _train(people: _People) -> nn.Sequential:
    num_people, num_keypoints = people.is_labeled.shape
    network = nn.Sequential(
        nn.Linear(FEATURES_PER_KEYPOINT * num_keypoints, _WIDTH), nn.ReLU(), nn.Dropout(_DROPOUT),
        nn.Linear(_WIDTH, _WIDTH), nn.ReLU(), nn.Dropout(_DROPOUT),
        nn.Linear(_WIDTH, 2 * num_keypoints),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    num_steps = _EPOCHS * math.ceil(num_people / _BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, num_steps)
    for _ in range(_EPOCHS):
        for chosen in torch.tensor_split(torch.randperm(num_people), num_steps // _EPOCHS):
            loss = _loss(network(people.features[chosen]), _People(*(values[chosen] for values in people)))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network


def _loss(predicted: Float[Tensor, "B outputs"], people: _People) -> Float[Tensor, ""]:
    labeled, similarity = predicted.chunk(2, dim=1)
    weights = labeled.sigmoid()
    oks = (weights * similarity.sigmoid()).sum(1) / weights.sum(1)
    true_oks = (people.similarity * people.is_labeled).sum(1) / people.is_labeled.sum(1)
    return (
        binary_cross_entropy_with_logits(labeled, people.is_labeled, people.is_counted)
        + binary_cross_entropy_with_logits(similarity, people.similarity, people.is_labeled) / people.is_labeled.mean()
        + binary_cross_entropy(oks.clamp(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY), true_oks)
    )


def _as_settings(layer: nn.Linear) -> DenseLayer:
    return DenseLayer(
        weights=tuple(tuple(round(value, _DIGITS) for value in row) for row in layer.weight.tolist()),
        biases=tuple(round(value, _DIGITS) for value in layer.bias.tolist()),
    )
