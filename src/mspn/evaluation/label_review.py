"""Suspect labels, found by comparison with a network: sides swapped, limbs reversed, keypoints misplaced.

Corrected labels train the next network, so a rule that is wrong half the time would do harm. A disagreement alone is
not enough: each rule also checks the geometry of the labels, and only judges poses on which small networks are
reliable. The share of suspect labels that were wrong, judged by eye, is in docs/data.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mspn.labels.check_rules import WIDE_SHARE, measure_facing, measure_lengths, measure_uprightness
from mspn.labels.corrections import Correction, correct_person
from mspn.labels.label_set import LabeledSet, area_of
from mspn.labels.label_table import LabelTable, make_table
from mspn.structures.oks import keypoint_similarity
from mspn.structures.shapes import Bool, Float
from mspn.structures.skeleton import Skeleton, convert_keypoints

_LIMBS = (
    ("left_shoulder", "left_wrist"),
    ("right_shoulder", "right_wrist"),
    ("left_hip", "left_ankle"),
    ("right_hip", "right_ankle"),
)
_HALVES = {"shoulder": ("shoulder", "elbow", "wrist"), "hip": ("hip", "knee", "ankle")}
"""Halves of the body, by the keypoints that show which way the half faces. Keypoints of the face are not changed."""
_MIN_UPRIGHT_COSINE = 0.5
"""Of the torso's angle, 60 degrees: networks often confuse left and right of people upside down."""
_MAX_SIMILARITY_OF_SIDES = 0.3
"""Above it, left and right are too close together to be judged."""
_MAX_SIMILARITY_WRONG, _MIN_SIMILARITY_RIGHT, _MIN_SIMILARITY_SWAPPED = 0.3, 0.5, 0.6
"""Of labels with the network's keypoints: below the first as labeled, above the second once corrected; above the third
once left and right are swapped."""
_MIN_MEAN_SCORE_SWAPPED = 0.5
"""Of the keypoints that change sides."""
_MIN_SCORE = 0.4
"""Of any other keypoint that contradicts a label."""
_MAX_SIMILARITY_MISPLACED = 0.01
"""For a wrist, a distance of 0.38 times the square root of the person's area."""
_MIN_LENGTH_RATIO_LABELED, _MAX_LENGTH_RATIO_PREDICTED = 2.0, 1.5
"""Of limbs that end at a misplaced keypoint, relative to their expected length: the longest as labeled, and the longest
as predicted. Without this rule, half of the disagreements are the network's mistakes."""


@dataclass(frozen=True, eq=False)
class _Comparison:
    """Labels of N people, and the predictions of the labeled keypoints."""

    labeled: LabelTable
    predicted: LabelTable
    scores: Float[np.ndarray, "N K"]

    @property
    def skeleton(self) -> Skeleton:
        return self.labeled.labels.skeleton

    def similarity(self, points: Float[np.ndarray, "N K 2"]) -> Float[np.ndarray, "N K"]:
        """Similarity of the labels with these points; NaN where either is missing."""
        areas = np.array([area_of(person) for person in self.labeled.labels.people])
        areas = np.where(areas > 0, areas, np.nan)[:, None]
        distances = np.linalg.norm(self.labeled.points - points, axis=-1)
        return keypoint_similarity(distances, areas, np.array(self.skeleton.sigmas))


def find_suspect_labels(
    labels: LabeledSet, results: Sequence[Mapping[str, Any]], skeleton: Skeleton
) -> dict[int, Correction]:
    """Find limbs that are labeled from the wrong end, then left and right swapped, then misplaced keypoints.

    Each rule sees the labels as corrected by the rules before it. Limbs are compared with the proportions of the set:
    in sets of fewer than ten people, no limb is too long.

    Args:
        labels: with COCO's keypoint names; people without shoulders and hips are not checked for swaps.
        results: COCO results list whose rows have the `annotation_id` of their person.
        skeleton: of the results.

    Returns:
        Corrections by the person's id; people without suspect labels are left out.
    """
    predictions = {row["annotation_id"]: np.reshape(row["keypoints"], (-1, 3)) for row in results}
    people = [person for person in labels.people if person.id in predictions and not person.is_crowd]
    if not people:
        return {}
    poses = convert_keypoints(np.array([predictions[person.id] for person in people]), skeleton, labels.skeleton)
    corrections: dict[int, Correction] = {}
    for find_suspects in (_find_reversed, _find_swapped, _find_misplaced):
        suspects = find_suspects(_compare(replace(labels, people=people), poses))
        people = [correct_person(person, suspects.get(person.id, _NO_CORRECTION), labels.skeleton) for person in people]
        corrections |= {number: _merge(corrections.get(number), further) for number, further in suspects.items()}
    return dict(sorted(corrections.items()))


_NO_CORRECTION = Correction()


def _merge(earlier: Correction | None, further: Correction) -> Correction:
    if earlier is None:
        return further
    return Correction(
        swap=earlier.swap + further.swap,
        leave_out=earlier.leave_out + further.leave_out,
        reason=f"{earlier.reason}; {further.reason}",
    )


def _compare(labels: LabeledSet, poses: Float[np.ndarray, "N K 3"]) -> _Comparison:
    predicted = []
    for person, pose in zip(labels.people, poses, strict=True):
        visibility = np.where(pose[:, 2] > 0, person.keypoints_image[:, 2], 0)
        predicted.append(replace(person, keypoints_image=np.column_stack([pose[:, :2], visibility])))
    return _Comparison(make_table(labels, {}), make_table(replace(labels, people=predicted), {}), poses[..., 2])


def _find_reversed(comparison: _Comparison) -> dict[int, Correction]:
    """Arms and legs labeled in reverse: the network predicts each end where the other is labeled."""
    names = comparison.skeleton.keypoints
    suspects: dict[int, Correction] = {}
    for ends in _LIMBS:
        if not set(ends) <= set(names):
            continue
        columns = [names.index(end) for end in ends]
        exchanged = comparison.predicted.points.copy()
        exchanged[:, columns] = exchanged[:, columns[::-1]]
        before = comparison.similarity(comparison.predicted.points)[:, columns].max(1)
        after = comparison.similarity(exchanged)[:, columns].min(1)
        score = comparison.scores[:, columns].min(1)
        is_reversed = (before < _MAX_SIMILARITY_WRONG) & (after > _MIN_SIMILARITY_RIGHT) & (score > _MIN_SCORE)
        for index in np.flatnonzero(is_reversed).tolist():
            further = Correction(
                swap=(ends,),
                reason=f"{ends[0]} and {ends[1]}: similarity {before[index]:.2f} at most as labeled,"
                f" {after[index]:.2f} at least swapped, score {score[index]:.2f}",
            )
            number = comparison.labeled.labels.people[index].id
            suspects[number] = _merge(suspects.get(number), further)
    return suspects


def _find_swapped(comparison: _Comparison) -> dict[int, Correction]:
    """Upright people whose shoulders, hips or both are labeled as facing the opposite way to the prediction."""
    labeled, predicted, order = comparison.labeled, comparison.predicted, comparison.skeleton.mirror_order
    is_clear = measure_uprightness(labeled) > _MIN_UPRIGHT_COSINE
    is_swapped = np.zeros(predicted.is_labeled.shape, bool)
    for part, names in _HALVES.items():
        as_labeled, as_predicted = measure_facing(labeled, part), measure_facing(predicted, part)
        is_clear &= np.minimum(abs(as_labeled), abs(as_predicted)) > WIDE_SHARE
        columns = [name.partition("_")[2] in names for name in comparison.skeleton.keypoints]
        is_swapped |= (as_labeled * as_predicted < 0)[:, None] & columns
    is_apart = comparison.similarity(labeled.points[:, order]) < _MAX_SIMILARITY_OF_SIDES
    before_each, after_each = comparison.similarity(predicted.points), comparison.similarity(predicted.points[:, order])
    before, after = _mean(before_each, is_apart & is_swapped), _mean(after_each, is_apart & is_swapped)
    score = _mean(comparison.scores, is_apart & is_swapped)
    unswapped_disagree = _mean(before_each, is_apart & ~is_swapped) < _MIN_SIMILARITY_RIGHT
    is_suspect = (
        is_clear
        & (before < _MAX_SIMILARITY_WRONG)
        & (after > _MIN_SIMILARITY_SWAPPED)
        & (score > _MIN_MEAN_SCORE_SWAPPED)
        & ~unswapped_disagree
    )
    return {
        labeled.labels.people[index].id: Correction(
            swap=_pairs(comparison.skeleton, is_swapped[index] & labeled.is_labeled[index]),
            reason=f"left and right: similarity {before[index]:.2f} as labeled, {after[index]:.2f} swapped,"
            f" score {score[index]:.2f}",
        )
        for index in np.flatnonzero(is_suspect).tolist()
    }


def _find_misplaced(comparison: _Comparison) -> dict[int, Correction]:
    """Keypoints far from a prediction with a high score, at the end of a limb that is too long."""
    labeled, predicted = comparison.labeled, comparison.predicted
    ratios = _longest_at(comparison.skeleton, measure_lengths(labeled))
    is_misplaced = (
        (comparison.similarity(predicted.points) < _MAX_SIMILARITY_MISPLACED)
        & (comparison.scores > _MIN_SCORE)
        & (ratios > _MIN_LENGTH_RATIO_LABELED)
        & (_longest_at(comparison.skeleton, measure_lengths(predicted)) < _MAX_LENGTH_RATIO_PREDICTED)
    )
    distances = np.linalg.norm(labeled.points - predicted.points, axis=-1)
    names = comparison.skeleton.keypoints
    return {
        labeled.labels.people[index].id: Correction(
            leave_out=tuple(names[column] for column in np.flatnonzero(is_misplaced[index])),
            reason="; ".join(
                f"{names[column]}: {distances[index, column]:.0f} pixels away, score"
                f" {comparison.scores[index, column]:.2f}, a limb {ratios[index, column]:.1f} times as long as expected"
                for column in np.flatnonzero(is_misplaced[index])
            ),
        )
        for index in np.flatnonzero(is_misplaced.any(1)).tolist()
    }


def _mean(values: Float[np.ndarray, "N K"], chosen: Bool[np.ndarray, "N K"]) -> Float[np.ndarray, " N"]:
    """Mean of the chosen values of each row; NaN where there are none."""
    count = chosen.sum(1)
    mean: np.ndarray = np.where(chosen, values, 0).sum(1) / np.where(count > 0, count, np.nan)
    return mean


def _longest_at(skeleton: Skeleton, ratios: Float[np.ndarray, "N L"]) -> Float[np.ndarray, "N K"]:
    """Length ratio of the longest limb that ends at each keypoint; 0 where no length is known."""
    longest = np.zeros((len(ratios), len(skeleton.keypoints)))
    for number, ends in enumerate(skeleton.limb_indices):
        for end in ends:
            longest[:, end] = np.fmax(longest[:, end], ratios[:, number])
    return longest


def _pairs(skeleton: Skeleton, chosen: Bool[np.ndarray, " K"]) -> tuple[tuple[str, str], ...]:
    """The mirrored pairs with at least one chosen keypoint."""
    names = {name for name, is_chosen in zip(skeleton.keypoints, chosen, strict=True) if is_chosen}
    return tuple(pair for pair in skeleton.mirrored_pairs if names & set(pair))
