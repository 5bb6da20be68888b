"""Which prediction is of whom: object keypoint similarities, and pairs by COCO's rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mspn.labels.formats.coco import CocoPeople
from mspn.structures.oks import keypoint_similarity
from mspn.structures.skeleton import Skeleton

NOBODY = -1
MIN_SIMILARITY = 0.1
"""Of a prediction and the person that it is of. Source: Ronchi & Perona 2017, so that bad poses are told from none."""
_MAX_PER_IMAGE = 20
"""COCO's rule for keypoints."""


@dataclass(frozen=True, eq=False)
class Matching:
    """Who R predictions are of, among N labeled people."""

    keypoints_image: Float[np.ndarray, "R K 3"]
    """The predictions: x, y and score."""
    image_ids: Int[np.ndarray, " R"]
    """The image of each."""
    person_of: Int[np.ndarray, " R"]
    """Position of the person, or NOBODY."""
    similarity: Float[np.ndarray, " R"]
    """With that person; 0 for nobody."""
    is_background: Bool[np.ndarray, " R"]
    """Of nobody, and counted against the system: not of a crowd or of someone without labels, and among the image's
    twenty predictions of the highest score."""
    is_counted: Bool[np.ndarray, " N"]
    """People to be found: labeled, and no crowd."""

    @property
    def prediction_of(self) -> Int[np.ndarray, " N"]:
        """Position of each person's prediction, or NOBODY."""
        positions = np.full(len(self.is_counted), NOBODY)
        matched = np.flatnonzero(self.person_of != NOBODY)
        positions[self.person_of[matched]] = matched
        return positions

    @property
    def is_missed(self) -> Bool[np.ndarray, " N"]:
        """People to be found of whom there is no prediction."""
        is_missed: Bool[np.ndarray, " N"] = self.is_counted & (self.prediction_of == NOBODY)
        return is_missed


def match_people(truth: CocoPeople, results: Sequence[dict[str, Any]], skeleton: Skeleton) -> Matching:
    """Pair each prediction, best score first, with the most similar person of its image who is still free.

    The rules are COCO's, at a similarity of 0.1: whoever is to be found comes before those who are not, and a crowd may
    take any number of predictions.

    Args:
        truth: everyone has an area.
        results: COCO results list.
        skeleton: of both.
    """
    shape = (len(results), len(skeleton.keypoints), 3)
    predicted = np.array([row["keypoints"] for row in results], np.float64).reshape(shape)
    is_crowd = np.array([bool(row.iscrowd) for row in truth.annotations])
    is_counted = (truth.keypoints_image[..., 2] > 0).any(1) & ~is_crowd
    person_of = np.full(len(results), NOBODY)
    similarity = np.zeros(len(results))
    is_background = np.zeros(len(results), bool)
    people_by_image = _group([row.image_id for row in truth.annotations])
    for image_id, rows in _group([row["image_id"] for row in results]).items():
        people = people_by_image.get(image_id, np.zeros(0, int))
        people = people[np.argsort(~is_counted[people], kind="stable")]
        scores = np.array([results[row]["score"] for row in rows])
        chosen = rows[np.argsort(-scores, kind="stable")][:_MAX_PER_IMAGE]
        similarities = pose_similarities(truth, people, predicted[chosen, :, :2], skeleton)
        free = np.ones(len(people), bool)
        for row, values in zip(chosen, similarities, strict=True):
            place = _best_place(np.where(free, values, 0.0), is_counted[people])
            if place is None:
                is_background[row] = True
                continue
            free[place] = is_crowd[people[place]]
            if is_counted[people[place]]:
                person_of[row], similarity[row] = people[place], values[place]
    image_ids = np.array([row["image_id"] for row in results], int)
    return Matching(predicted, image_ids, person_of, similarity, is_background, is_counted)


def pose_similarities(
    truth: CocoPeople,
    people: Int[np.ndarray, " P"],
    points_image: Float[np.ndarray, "R K 2"],
    skeleton: Skeleton,
) -> Float[np.ndarray, "R P"]:
    """COCO's object keypoint similarity of each pose with each of these people.

    It is the mean of `keypoint_similarity` over the labeled keypoints. Of someone without any, it is that of keypoints
    as far away as the pose's are outside the box, three times as large. Source: pycocotools.
    """
    similarities = np.zeros((len(points_image), len(people)))
    for column, person in enumerate(people):
        labels, row = truth.keypoints_image[person], truth.annotations[person]
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
    """Positions by key."""
    groups: dict[int, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return {key: np.array(positions) for key, positions in groups.items()}


def _best_place(values: Float[np.ndarray, " P"], counted: Bool[np.ndarray, " P"]) -> int | None:
    """The most similar one who counts, else the most similar of the others; None where all are below the lowest."""
    for group in (counted, ~counted):
        reached = np.where(group & (values >= MIN_SIMILARITY), values, -1.0)
        if reached.size and reached.max() > 0:
            return int(len(reached) - 1 - reached[::-1].argmax())  # the last of equals, as pycocotools
    return None
