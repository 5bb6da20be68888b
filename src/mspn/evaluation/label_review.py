"""Labels that a network doubts: left and right swapped, limbs from the wrong end, keypoints far from their place.

A rule that is wrong half the time would do harm, since corrected labels train the next network. So a disagreement alone
is no doubt: each rule also asks the labels' own geometry, and looks where small networks are reliable. The shares of
doubts that were right, by eye, are in docs/data.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mspn.labels.checks.bodies import WIDE_SHARE, measure_facing, measure_lengths, measure_uprightness
from mspn.labels.checks.label_table import LabelTable, make_table
from mspn.labels.corrections import Correction, correct_person
from mspn.labels.label_set import LabeledSet, area_of
from mspn.structures.oks import keypoint_similarity
from mspn.structures.skeleton import Skeleton, convert_keypoints

_LIMBS = (
    ("left_shoulder", "left_wrist"),
    ("right_shoulder", "right_wrist"),
    ("left_hip", "left_ankle"),
    ("right_hip", "right_ankle"),
)
_HALVES = {"shoulder": ("shoulder", "elbow", "wrist"), "hip": ("hip", "knee", "ankle")}
"""Of the body, by the part that says which way the half faces. The face stays as it is labeled."""
_UPRIGHT = 0.5
"""Least cosine of the torso's angle, that is 60 degrees: of people upside down, networks often take left for right."""
_APART = 0.3
"""Left and right say something only where their labels are less similar than this."""
_NOT_FOUND, _FOUND, _SURELY_FOUND = 0.3, 0.5, 0.6
"""Similarities of labels with the network's keypoints: as labeled below the first; swapped above the second, or the
third where the sides are in doubt."""
_SURE_OF_SIDES = 0.5
"""Least mean score of keypoints that change sides."""
_SURE_OF_PLACE = 0.4
"""Least score of any other keypoint that contradicts a label."""
_FAR = 0.01
"""Greatest similarity of a misplaced keypoint; of a wrist, that is 0.38 times the square root of the person's area."""
_TOO_LONG, _LONG_ENOUGH = 2.0, 1.5
"""A limb that ends at a misplaced keypoint is at least so many times as long as expected, while all that the network
sees there are at most as long as the second. Without this, half of the disagreements are the network's mistakes."""


@dataclass(frozen=True, eq=False)
class _Comparison:
    """Labels of N people, and the network's keypoints where they are labeled."""

    labeled: LabelTable
    found: LabelTable
    scores: Float[np.ndarray, "N K"]

    @property
    def skeleton(self) -> Skeleton:
        return self.labeled.labels.skeleton

    def similarity(self, points: Float[np.ndarray, "N K 2"]) -> Float[np.ndarray, "N K"]:
        """Of the labels with these points; NaN where either is not there."""
        areas = np.array([area_of(person) for person in self.labeled.labels.people])
        areas = np.where(areas > 0, areas, np.nan)[:, None]
        distances = np.linalg.norm(self.labeled.points - points, axis=-1)
        return keypoint_similarity(distances, areas, np.array(self.skeleton.sigmas))


def find_suspect_labels(
    labels: LabeledSet, results: Sequence[Mapping[str, Any]], skeleton: Skeleton
) -> dict[int, Correction]:
    """Find limbs that are labeled from the wrong end, then left and right swapped, then misplaced keypoints.

    Each rule sees the labels as those before would correct them. Limbs are compared with the set's own proportions: in
    sets of fewer than ten people, none is too long.

    Args:
        labels: with keypoints called as COCO's; whoever lacks shoulders and hips is not judged for swaps.
        results: COCO results list whose rows have the `annotation_id` of their person.
        skeleton: of the results.

    Returns:
        What to do, by the person's id; nothing for those who are not doubted.
    """
    found = {row["annotation_id"]: np.reshape(row["keypoints"], (-1, 3)) for row in results}
    people = [person for person in labels.people if person.id in found and not person.is_crowd]
    if not people:
        return {}
    poses = convert_keypoints(np.array([found[person.id] for person in people]), skeleton, labels.skeleton)
    corrections: dict[int, Correction] = {}
    for find in (_find_reversed, _find_swapped, _find_misplaced):
        doubted = find(_compare(replace(labels, people=people), poses))
        people = [correct_person(person, doubted.get(person.id, _NOTHING), labels.skeleton) for person in people]
        corrections |= {number: _join(corrections.get(number), further) for number, further in doubted.items()}
    return dict(sorted(corrections.items()))


_NOTHING = Correction()


def _join(earlier: Correction | None, further: Correction) -> Correction:
    if earlier is None:
        return further
    return Correction(
        swap=earlier.swap + further.swap,
        leave_out=earlier.leave_out + further.leave_out,
        because=f"{earlier.because}; {further.because}",
    )


def _compare(labels: LabeledSet, poses: Float[np.ndarray, "N K 3"]) -> _Comparison:
    found = []
    for person, pose in zip(labels.people, poses, strict=True):
        visibility = np.where(pose[:, 2] > 0, person.keypoints_image[:, 2], 0)
        found.append(replace(person, keypoints_image=np.column_stack([pose[:, :2], visibility])))
    return _Comparison(make_table(labels, {}), make_table(replace(labels, people=found), {}), poses[..., 2])


def _find_reversed(comparison: _Comparison) -> dict[int, Correction]:
    """Arms and legs whose first keypoint is where the network sees the last one, and the other way round."""
    names = comparison.skeleton.keypoints
    doubted: dict[int, Correction] = {}
    for ends in _LIMBS:
        if not set(ends) <= set(names):
            continue
        columns = [names.index(end) for end in ends]
        turned = comparison.found.points.copy()
        turned[:, columns] = turned[:, columns[::-1]]
        before = comparison.similarity(comparison.found.points)[:, columns].max(1)
        after = comparison.similarity(turned)[:, columns].min(1)
        score = comparison.scores[:, columns].min(1)
        is_reversed = (before < _NOT_FOUND) & (after > _FOUND) & (score > _SURE_OF_PLACE)
        for index in np.flatnonzero(is_reversed).tolist():
            further = Correction(
                swap=(ends,),
                because=f"{ends[0]} and {ends[1]}: similarity {before[index]:.2f} at most as labeled,"
                f" {after[index]:.2f} at least swapped, score {score[index]:.2f}",
            )
            number = comparison.labeled.labels.people[index].id
            doubted[number] = _join(doubted.get(number), further)
    return doubted


def _find_swapped(comparison: _Comparison) -> dict[int, Correction]:
    """Upright people whose shoulders, hips or both face the other way than the network sees them."""
    labeled, found, order = comparison.labeled, comparison.found, comparison.skeleton.mirror_order
    is_clear = measure_uprightness(labeled) > _UPRIGHT
    is_swapped = np.zeros(found.is_labeled.shape, bool)
    for part, names in _HALVES.items():
        as_labeled, as_found = measure_facing(labeled, part), measure_facing(found, part)
        is_clear &= np.minimum(abs(as_labeled), abs(as_found)) > WIDE_SHARE
        columns = [name.partition("_")[2] in names for name in comparison.skeleton.keypoints]
        is_swapped |= (as_labeled * as_found < 0)[:, None] & columns
    is_apart = comparison.similarity(labeled.points[:, order]) < _APART
    own, other = comparison.similarity(found.points), comparison.similarity(found.points[:, order])
    before, after = _mean(own, is_apart & is_swapped), _mean(other, is_apart & is_swapped)
    score = _mean(comparison.scores, is_apart & is_swapped)
    rest_disagrees = _mean(own, is_apart & ~is_swapped) < _FOUND
    is_doubted = is_clear & (before < _NOT_FOUND) & (after > _SURELY_FOUND) & (score > _SURE_OF_SIDES) & ~rest_disagrees
    return {
        labeled.labels.people[index].id: Correction(
            swap=_pairs(comparison.skeleton, is_swapped[index] & labeled.is_labeled[index]),
            because=f"left and right: similarity {before[index]:.2f} as labeled, {after[index]:.2f} swapped,"
            f" score {score[index]:.2f}",
        )
        for index in np.flatnonzero(is_doubted).tolist()
    }


def _find_misplaced(comparison: _Comparison) -> dict[int, Correction]:
    """Keypoints far from where the network surely sees them, which make a limb too long."""
    labeled, found = comparison.labeled, comparison.found
    times = _longest_at(comparison.skeleton, measure_lengths(labeled))
    is_misplaced = (
        (comparison.similarity(found.points) < _FAR)
        & (comparison.scores > _SURE_OF_PLACE)
        & (times > _TOO_LONG)
        & (_longest_at(comparison.skeleton, measure_lengths(found)) < _LONG_ENOUGH)
    )
    distances = np.linalg.norm(labeled.points - found.points, axis=-1)
    names = comparison.skeleton.keypoints
    return {
        labeled.labels.people[index].id: Correction(
            leave_out=tuple(names[column] for column in np.flatnonzero(is_misplaced[index])),
            because="; ".join(
                f"{names[column]}: {distances[index, column]:.0f} pixels away, score"
                f" {comparison.scores[index, column]:.2f}, a limb {times[index, column]:.1f} times as long as expected"
                for column in np.flatnonzero(is_misplaced[index])
            ),
        )
        for index in np.flatnonzero(is_misplaced.any(1)).tolist()
    }


def _mean(values: Float[np.ndarray, "N K"], chosen: Bool[np.ndarray, "N K"]) -> Float[np.ndarray, " N"]:
    """Over the chosen ones of each row; NaN where there are none."""
    count = chosen.sum(1)
    mean: np.ndarray = np.where(chosen, values, 0).sum(1) / np.where(count > 0, count, np.nan)
    return mean


def _longest_at(skeleton: Skeleton, times: Float[np.ndarray, "N L"]) -> Float[np.ndarray, "N K"]:
    """Of the limbs that end at each keypoint, the longest; 0 where none is known."""
    longest = np.zeros((len(times), len(skeleton.keypoints)))
    for number, ends in enumerate(skeleton.limb_indices):
        for end in ends:
            longest[:, end] = np.fmax(longest[:, end], times[:, number])
    return longest


def _pairs(skeleton: Skeleton, chosen: Bool[np.ndarray, " K"]) -> tuple[tuple[str, str], ...]:
    """The pairs of which one is chosen, or both."""
    names = {name for name, is_chosen in zip(skeleton.keypoints, chosen, strict=True) if is_chosen}
    return tuple(pair for pair in skeleton.mirrored_pairs if names & set(pair))
