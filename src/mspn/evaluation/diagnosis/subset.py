"""A subset of the images on which the AP of changed results is computed, and the orders of keypoints to try."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mspn.evaluation.metrics.average_precision import average_precision
from mspn.labels.formats.coco import CocoAnnotation, CocoPeople
from mspn.structures.boxes import iou
from mspn.structures.skeleton import Skeleton

_MAX_IMAGES = 100
_MIN_LABELED_KEYPOINTS = 6
"""Of a person, for pairing with a result by the box around the keypoints."""
_MIN_IOU = 0.3
"""Between the boxes around a person's keypoints and around the result's."""

BoxesXyxy = Float[np.ndarray, "*n 4"]
"""Left, top, right, bottom in image pixels."""


class Pair(NamedTuple):
    """A labeled person and the result of the same region, in any order of keypoints."""

    labeled: Float[np.ndarray, "K 3"]
    predicted: Float[np.ndarray, "K 2"]


@dataclass(frozen=True, eq=False)
class DiagnosisSubset:
    """Images that have both people to match and results."""

    ground_truth: CocoPeople
    rows: Sequence[dict[str, Any]]
    """Results of these images, and of those whose ids are one higher or lower."""
    skeleton: Skeleton

    @property
    def people(self) -> list[tuple[CocoAnnotation, Float[np.ndarray, "K 3"]]]:
        """The people to match, with their keypoints."""
        return people_to_match(self.ground_truth)

    @cached_property
    def average_precision(self) -> float:
        """AP on these images."""
        return self.score(self.rows, self.ground_truth)

    def score(self, rows: Sequence[dict[str, Any]], ground_truth: CocoPeople) -> float:
        """AP on these images with changed results or a changed ground truth."""
        known = {image.id for image in ground_truth.images}
        return average_precision(ground_truth, [row for row in rows if row["image_id"] in known], self.skeleton)["AP"]

    def rows_by_image(self) -> dict[int, list[dict[str, Any]]]:
        """Results by image id, best first."""
        by_image: dict[int, list[dict[str, Any]]] = {image.id: [] for image in self.ground_truth.images}
        for row in sorted(self.rows, key=lambda row: -row["score"]):
            if row["image_id"] in by_image:
                by_image[row["image_id"]].append(row)
        return by_image

    def pairs(self) -> list[Pair]:
        """Each person with enough labels, paired with the result that overlaps them most."""
        predicted = {
            image_id: np.array([row["keypoints"] for row in rows]).reshape(len(rows), -1, 3)[..., :2]
            for image_id, rows in self.rows_by_image().items()
            if rows
        }
        pairs = []
        for person, keypoints in self.people:
            points = keypoints[keypoints[:, 2] > 0, :2]
            if len(points) < _MIN_LABELED_KEYPOINTS or person.image_id not in predicted:
                continue
            candidates = predicted[person.image_id]
            overlaps = iou(extent(candidates), extent(points))
            if overlaps.max() >= _MIN_IOU:
                pairs.append(Pair(keypoints, candidates[overlaps.argmax()]))
        return pairs


def take_subset(ground_truth: CocoPeople, rows: Sequence[dict[str, Any]], skeleton: Skeleton) -> DiagnosisSubset:
    """The first 100 images that have both people to match and results."""
    usable = {person.image_id for person, _ in people_to_match(ground_truth)} & {row["image_id"] for row in rows}
    images = [image for image in ground_truth.images if image.id in usable][:_MAX_IMAGES]
    chosen = {image.id for image in images}
    indices = [index for index, person in enumerate(ground_truth.annotations) if person.image_id in chosen]
    subset = replace(
        ground_truth,
        images=images,
        annotations=[ground_truth.annotations[index] for index in indices],
        keypoints_image=ground_truth.keypoints_image[indices],
    )
    near = {image_id + shift for image_id in chosen for shift in (-1, 0, 1)}
    return DiagnosisSubset(subset, [row for row in rows if row["image_id"] in near], skeleton)


def people_to_match(ground_truth: CocoPeople) -> list[tuple[CocoAnnotation, Float[np.ndarray, "K 3"]]]:
    """People who are no crowd and have a labeled keypoint."""
    return [
        (person, keypoints)
        for person, keypoints in zip(ground_truth.annotations, ground_truth.keypoints_image, strict=True)
        if not person.iscrowd and (keypoints[:, 2] > 0).any()
    ]


def extent(points: Float[np.ndarray, "*n K 2"]) -> BoxesXyxy:
    """The box around points."""
    return np.concatenate([points.min(-2), points.max(-2)], axis=-1)


_OPENPOSE = (
    *("nose", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
"""OpenPose's COCO keypoints without the neck, which COCO does not have."""
_MAX_NAMES_SHOWN = 3


def likely_orders(skeleton: Skeleton, pairs: Sequence[Pair]) -> list[list[int]]:
    """Index in the results of each of the skeleton's keypoints, for likely mistakes: sides swapped, the reverse,
    OpenPose's order, and the order nearest to the labels.
    """
    orders = [skeleton.mirror_order, list(range(len(skeleton.keypoints)))[::-1]]
    if set(skeleton.keypoints) == set(_OPENPOSE):
        orders.append([_OPENPOSE.index(name) for name in skeleton.keypoints])
    if pairs:
        orders.append(_nearest_order(pairs))
    return orders


def reorder(rows: Sequence[dict[str, Any]], order: Sequence[int]) -> list[dict[str, Any]]:
    """The rows with the keypoints at these indices, in this order."""
    columns = [3 * index + offset for index in order for offset in range(3)]
    return [row | {"keypoints": [row["keypoints"][column] for column in columns]} for row in rows]


def describe_order(skeleton: Skeleton, order: Sequence[int]) -> str:
    """The mistake in results that this order corrects."""
    if list(order) == skeleton.mirror_order:
        return "left and right are swapped in the results: with the sides exchanged"
    moved = [
        (name, index)
        for number, (name, index) in enumerate(zip(skeleton.keypoints, order, strict=True))
        if index != number
    ]
    named = ", ".join(f"{name} is at index {index}" for name, index in moved[:_MAX_NAMES_SHOWN])
    dots = ", ..." if len(moved) > _MAX_NAMES_SHOWN else ""
    return f"the results' keypoints are in another order ({named}{dots}): in the labels' order"


def _nearest_order(pairs: Sequence[Pair]) -> list[int]:
    """For each keypoint the index in the results whose points are nearest to its labels; each index once."""
    predicted = np.stack([pair.predicted for pair in pairs])
    labeled = np.stack([pair.labeled for pair in pairs])
    sizes = np.linalg.norm(np.ptp(predicted, axis=1), axis=-1)
    # pairs x index in the results x keypoint
    distances = np.linalg.norm(predicted[:, :, None] - labeled[:, None, :, :2], axis=-1) / sizes[:, None, None]
    num_keypoints = labeled.shape[1]
    order = [-1] * num_keypoints
    typical = np.full((num_keypoints, num_keypoints), np.inf)
    for keypoint in range(num_keypoints):
        is_labeled = labeled[:, keypoint, 2] > 0
        if is_labeled.any():
            typical[:, keypoint] = np.median(distances[is_labeled, :, keypoint], axis=0)
    free = set(range(num_keypoints))
    for flat in np.argsort(typical, axis=None, kind="stable").tolist():
        index, keypoint = divmod(flat, num_keypoints)
        if order[keypoint] < 0 and index in free:
            order[keypoint] = index
            free.remove(index)
    return order
