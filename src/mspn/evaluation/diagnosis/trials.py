"""A part of a labeled set and its results on which changes are tried out: what would AP be if ...?"""

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
_MIN_LABELED = 6
"""Keypoints that place somebody well enough to look for the result that means them."""
_MIN_OVERLAP = 0.3

Corners = Float[np.ndarray, "*n 4"]
"""Left, top, right, bottom in image pixels."""


class Pair(NamedTuple):
    """Somebody labeled, and the result around the same place; whatever the order of its keypoints."""

    labeled: Float[np.ndarray, "K 3"]
    predicted: Float[np.ndarray, "K 2"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Some images that show people to find and have results."""

    ground_truth: CocoPeople
    rows: Sequence[dict[str, Any]]
    """Results of these images, and of those with the next numbers."""
    skeleton: Skeleton

    @property
    def people(self) -> list[tuple[CocoAnnotation, Float[np.ndarray, "K 3"]]]:
        """Whom results are measured against."""
        return findable(self.ground_truth)

    @cached_property
    def average_precision(self) -> float:
        """AP on these images."""
        return self.try_out(self.rows, self.ground_truth)

    def try_out(self, rows: Sequence[dict[str, Any]], ground_truth: CocoPeople) -> float:
        """AP on these images with other results or against another ground truth."""
        known = {image.id for image in ground_truth.images}
        return average_precision(ground_truth, [row for row in rows if row["image_id"] in known], self.skeleton)["AP"]

    def rows_by_image(self) -> dict[int, list[dict[str, Any]]]:
        """The sample's results, best first; a list for each image."""
        found: dict[int, list[dict[str, Any]]] = {image.id: [] for image in self.ground_truth.images}
        for row in sorted(self.rows, key=lambda row: -row["score"]):
            if row["image_id"] in found:
                found[row["image_id"]].append(row)
        return found

    def pairs(self) -> list[Pair]:
        """Each well-labeled person who has a result around the same place."""
        predicted = {
            image_id: np.array([row["keypoints"] for row in rows]).reshape(len(rows), -1, 3)[..., :2]
            for image_id, rows in self.rows_by_image().items()
            if rows
        }
        pairs = []
        for person, keypoints in self.people:
            placed = keypoints[keypoints[:, 2] > 0, :2]
            if len(placed) < _MIN_LABELED or person.image_id not in predicted:
                continue
            candidates = predicted[person.image_id]
            overlaps = iou(extent(candidates), extent(placed))
            if overlaps.max() >= _MIN_OVERLAP:
                pairs.append(Pair(keypoints, candidates[overlaps.argmax()]))
        return pairs


def take_subset(ground_truth: CocoPeople, rows: Sequence[dict[str, Any]], skeleton: Skeleton) -> Sample:
    """The first 100 images that show somebody to find and have results."""
    shown = {person.image_id for person, _ in findable(ground_truth)} & {row["image_id"] for row in rows}
    images = [image for image in ground_truth.images if image.id in shown][:_MAX_IMAGES]
    chosen = {image.id for image in images}
    places = [place for place, person in enumerate(ground_truth.annotations) if person.image_id in chosen]
    part = replace(
        ground_truth,
        images=images,
        annotations=[ground_truth.annotations[place] for place in places],
        keypoints_image=ground_truth.keypoints_image[places],
    )
    near = {image_id + shift for image_id in chosen for shift in (-1, 0, 1)}
    return Sample(part, [row for row in rows if row["image_id"] in near], skeleton)


def findable(ground_truth: CocoPeople) -> list[tuple[CocoAnnotation, Float[np.ndarray, "K 3"]]]:
    """Everyone who is no crowd and has a labeled keypoint."""
    return [
        (person, keypoints)
        for person, keypoints in zip(ground_truth.annotations, ground_truth.keypoints_image, strict=True)
        if not person.iscrowd and (keypoints[:, 2] > 0).any()
    ]


def extent(points: Float[np.ndarray, "*n K 2"]) -> Corners:
    """The upright box around points."""
    return np.concatenate([points.min(-2), points.max(-2)], axis=-1)
