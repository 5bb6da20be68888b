"""Matching of predictions with labeled people by object keypoint similarity, by COCO's rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mspn.labels.formats.coco import CocoPeople
from mspn.structures.oks import keypoint_similarity
from mspn.structures.shapes import Bool, Float, Int
from mspn.structures.skeleton import Skeleton

UNMATCHED = -1
MIN_SIMILARITY = 0.1
"""OKS of a match. Low, so that people with inaccurate predictions do not count as missed (Ronchi & Perona 2017)."""
_MAX_PREDICTIONS_PER_IMAGE = 20
"""COCO evaluates at most these for keypoints."""


@dataclass(frozen=True, eq=False)
class Matching:
    """Matches of R predictions with N labeled people."""

    keypoints_image: Float[np.ndarray, "R K 3"]
    """The predictions: x, y and score."""
    image_ids: Int[np.ndarray, " R"]
    """Image id of each prediction."""
    person_of: Int[np.ndarray, " R"]
    """Index of the person, or UNMATCHED."""
    similarity: Float[np.ndarray, " R"]
    """With that person; 0 without a match."""
    is_background: Bool[np.ndarray, " R"]
    """Unmatched and counted as false positive: among the image's twenty best predictions, and neither on a crowd nor on
    a person without labels."""
    is_counted: Bool[np.ndarray, " N"]
    """People who are evaluated: with a labeled keypoint, and no crowd."""

    @property
    def prediction_of(self) -> Int[np.ndarray, " N"]:
        """Index of each person's prediction, or UNMATCHED."""
        positions = np.full(len(self.is_counted), UNMATCHED)
        matched = np.flatnonzero(self.person_of != UNMATCHED)
        positions[self.person_of[matched]] = matched
        return positions

    @property
    def is_missed(self) -> Bool[np.ndarray, " N"]:
        """People who are evaluated and have no prediction."""
        is_missed: Bool[np.ndarray, " N"] = self.is_counted & (self.prediction_of == UNMATCHED)
        return is_missed


def match_people(ground_truth: CocoPeople, results: Sequence[dict[str, Any]], skeleton: Skeleton) -> Matching:
    """Match each prediction, best score first, with the most similar unmatched person of its image.

    COCO's rules, at a similarity of 0.1: people who are evaluated come before those who are not, and a crowd may match
    any number of predictions.

    Args:
        ground_truth: every person has an area.
        results: COCO results list.
        skeleton: of both.
    """
    shape = (len(results), len(skeleton.keypoints), 3)
    predicted = np.array([row["keypoints"] for row in results], np.float64).reshape(shape)
    is_crowd = np.array([bool(row.iscrowd) for row in ground_truth.annotations])
    is_counted = (ground_truth.keypoints_image[..., 2] > 0).any(1) & ~is_crowd
    person_of = np.full(len(results), UNMATCHED)
    similarity = np.zeros(len(results))
    is_background = np.zeros(len(results), bool)
    people_by_image = _group([row.image_id for row in ground_truth.annotations])
    for image_id, rows in _group([row["image_id"] for row in results]).items():
        people = people_by_image.get(image_id, np.zeros(0, int))
        people = people[np.argsort(~is_counted[people], kind="stable")]
        scores = np.array([results[row]["score"] for row in rows])
        chosen = rows[np.argsort(-scores, kind="stable")][:_MAX_PREDICTIONS_PER_IMAGE]
        similarities = pose_similarities(ground_truth, people, predicted[chosen, :, :2], skeleton)
        free = np.ones(len(people), bool)
        for row, values in zip(chosen, similarities, strict=True):
            column = _best_column(np.where(free, values, 0.0), is_counted[people])
            if column is None:
                is_background[row] = True
                continue
            free[column] = is_crowd[people[column]]
            if is_counted[people[column]]:
                person_of[row], similarity[row] = people[column], values[column]
    image_ids = np.array([row["image_id"] for row in results], int)
    return Matching(predicted, image_ids, person_of, similarity, is_background, is_counted)


def pose_similarities(
    ground_truth: CocoPeople,
    people: Int[np.ndarray, " P"],
    points_image: Float[np.ndarray, "R K 2"],
    skeleton: Skeleton,
) -> Float[np.ndarray, "R P"]:
    """COCO's object keypoint similarity of each pose with each of these people.

    It is the mean of `keypoint_similarity` over the labeled keypoints. For a person without labels, distances are those
    to the person's box, enlarged three times. Source: pycocotools.
    """
    similarities = np.zeros((len(points_image), len(people)))
    for column, person in enumerate(people):
        labels, row = ground_truth.keypoints_image[person], ground_truth.annotations[person]
        labeled = labels[:, 2] > 0
        if labeled.any():
            distances = np.linalg.norm(points_image - labels[:, :2], axis=-1)[:, labeled]
            sigmas = np.array(skeleton.sigmas)[labeled]
        else:
            left, top, width, height = row.bbox
            nearest = points_image.clip([left - width, top - height], [left + 2 * width, top + 2 * height])
            distances = np.linalg.norm(points_image - nearest, axis=-1)
            sigmas = np.array(skeleton.sigmas)
        assert row.area is not None
        similarities[:, column] = keypoint_similarity(distances, row.area, sigmas).mean(-1)
    return similarities


def _group(keys: Sequence[int]) -> dict[int, Int[np.ndarray, " M"]]:
    """Indices by key."""
    groups: dict[int, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return {key: np.array(positions) for key, positions in groups.items()}


def _best_column(values: Float[np.ndarray, " P"], counted: Bool[np.ndarray, " P"]) -> int | None:
    """The most similar person who is evaluated, else the most similar one; None if all are below MIN_SIMILARITY."""
    for group in (counted, ~counted):
        reached = np.where(group & (values >= MIN_SIMILARITY), values, -1.0)
        if reached.size and reached.max() > 0:
            return int(len(reached) - 1 - reached[::-1].argmax())  # the last of equals, as pycocotools
    return None
