"""Kinds of keypoint error (jitter, inversion, swap, miss), and whether keypoint scores are calibrated.

Source: the kinds and their limits are those of Ronchi & Perona, "Benchmarking and Error Diagnosis in Multi-Instance
Pose Estimation", ICCV 2017. Similar body parts, which may be confused, are the left and the right one of a pair.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Float, Int

from mspn.evaluation.analysis.calibration import MIN_SIMILARITY_GOOD, Calibration, compare_scores
from mspn.evaluation.matching import UNMATCHED, Matching
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.oks import keypoint_similarity
from mspn.structures.skeleton import Skeleton

MIN_SIMILARITY_NEAR = 0.5


class Outcome(IntEnum):
    """Of a predicted keypoint, by the keypoint's own similarity."""

    UNLABELED = -1
    """The keypoint is not labeled."""
    GOOD = 0
    """Similarity from 0.85 on."""
    JITTER = 1
    """Near its label, from 0.5 on."""
    INVERSION = 2
    """Not near it, but near the same person's keypoint of the other side."""
    SWAP = 3
    """Not near it, but near another person's keypoint of the same name or of the other side."""
    MISS = 4
    """Near none of them."""


ERRORS = (Outcome.JITTER, Outcome.INVERSION, Outcome.SWAP, Outcome.MISS)


def judge_keypoints(ground_truth: CocoPeople, matching: Matching, skeleton: Skeleton) -> Int[np.ndarray, "R K"]:
    """The `Outcome` of every keypoint of R predictions; UNLABELED in unmatched predictions.

    Where both the person's other side and another person are near, the nearer one decides.
    """
    outcomes = np.full(matching.keypoints_image.shape[:2], int(Outcome.UNLABELED))
    image_ids = np.array([row.image_id for row in ground_truth.annotations])
    for row in np.flatnonzero(matching.person_of != UNMATCHED):
        person = matching.person_of[row]
        points = matching.keypoints_image[row, :, :2]
        own, inverted = _similarities(ground_truth, person, points, skeleton)
        neighbors = np.flatnonzero((image_ids == image_ids[person]) & matching.is_counted)
        swapped = np.zeros_like(own)
        for neighbor in neighbors[neighbors != person]:
            swapped = np.maximum(swapped, np.maximum(*_similarities(ground_truth, neighbor, points, skeleton)))
        outcomes[row] = np.select(
            [
                ground_truth.keypoints_image[person, :, 2] == 0,
                own >= MIN_SIMILARITY_GOOD,
                own >= MIN_SIMILARITY_NEAR,
                np.maximum(inverted, swapped) < MIN_SIMILARITY_NEAR,
                inverted >= swapped,
            ],
            [Outcome.UNLABELED, Outcome.GOOD, Outcome.JITTER, Outcome.MISS, Outcome.INVERSION],
            Outcome.SWAP,
        )
    return outcomes


def _similarities(
    ground_truth: CocoPeople, person: int, points_image: Float[np.ndarray, "K 2"], skeleton: Skeleton
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Similarity of each point with the person's keypoint of its name, and of the other side; 0 where unlabeled."""
    labels, area = ground_truth.keypoints_image[person], ground_truth.annotations[person].area
    assert area is not None
    sigmas = np.array(skeleton.sigmas)
    order = np.array(skeleton.mirror_order)
    distances = np.linalg.norm(points_image - labels[:, :2], axis=-1)
    own = np.where(labels[:, 2] > 0, keypoint_similarity(distances, area, sigmas), 0.0)
    other_side = labels[order]
    distances = np.linalg.norm(points_image - other_side[:, :2], axis=-1)
    has_other_side = (order != np.arange(len(order))) & (other_side[:, 2] > 0)
    inverted = np.where(has_other_side, keypoint_similarity(distances, area, sigmas[order]), 0.0)
    return own, inverted


def calibrate(matching: Matching, outcomes: Int[np.ndarray, "R K"]) -> Calibration | None:
    """Compare scores of the labeled keypoints of matched predictions with the share of them that is good.

    Returns:
        None if there are none, or if a score is outside 0 to 1: some systems write visibilities instead.
    """
    judged = outcomes != Outcome.UNLABELED
    scores = matching.keypoints_image[..., 2][judged]
    if not scores.size or scores.min() < 0 or scores.max() > 1:
        return None
    return compare_scores(scores, outcomes[judged] == Outcome.GOOD)
