"""A part of a labelled set and its results on which changes are tried out: what would AP be if ...?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mspn.data.coco import CocoAnnotation, CocoPeople
from mspn.evaluate.average_precision import average_precision
from mspn.skeleton import Skeleton

_MOST_PICTURES = 100
_LEAST_LABELLED = 6
"""Keypoints that place somebody well enough to look for the result that means them."""
_LEAST_OVERLAP = 0.3

Corners = Float[np.ndarray, "*n 4"]
"""Left, top, right, bottom in image pixels."""


class Pair(NamedTuple):
    """Somebody labelled, and the result around the same place; whatever the order of its keypoints."""

    labelled: Float[np.ndarray, "K 3"]
    predicted: Float[np.ndarray, "K 2"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Some pictures that show people to find and have results."""

    truth: CocoPeople
    rows: Sequence[dict[str, Any]]
    """Results of these pictures, and of those with the next numbers."""
    skeleton: Skeleton

    @property
    def people(self) -> list[tuple[CocoAnnotation, Float[np.ndarray, "K 3"]]]:
        """Whom results are measured against."""
        return findable(self.truth)

    @cached_property
    def average_precision(self) -> float:
        """AP on these pictures."""
        return self.try_out(self.rows, self.truth)

    def try_out(self, rows: Sequence[dict[str, Any]], truth: CocoPeople) -> float:
        """AP on these pictures with other results or against another truth."""
        known = {image.id for image in truth.images}
        return average_precision(truth, [row for row in rows if row["image_id"] in known], self.skeleton)["AP"]

    def rows_by_picture(self) -> dict[int, list[dict[str, Any]]]:
        """The sample's results, best first; a list for each picture."""
        found: dict[int, list[dict[str, Any]]] = {image.id: [] for image in self.truth.images}
        for row in sorted(self.rows, key=lambda row: -row["score"]):
            if row["image_id"] in found:
                found[row["image_id"]].append(row)
        return found

    def pairs(self) -> list[Pair]:
        """Each well-labelled person who has a result around the same place."""
        predicted = {
            image_id: np.array([row["keypoints"] for row in rows]).reshape(len(rows), -1, 3)[..., :2]
            for image_id, rows in self.rows_by_picture().items()
            if rows
        }
        pairs = []
        for person, keypoints in self.people:
            placed = keypoints[keypoints[:, 2] > 0, :2]
            if len(placed) < _LEAST_LABELLED or person.image_id not in predicted:
                continue
            candidates = predicted[person.image_id]
            overlaps = overlap(extent(candidates), extent(placed))
            if overlaps.max() >= _LEAST_OVERLAP:
                pairs.append(Pair(keypoints, candidates[overlaps.argmax()]))
        return pairs


def take_sample(truth: CocoPeople, rows: Sequence[dict[str, Any]], skeleton: Skeleton) -> Sample:
    """The first 100 pictures that show somebody to find and have results."""
    shown = {person.image_id for person, _ in findable(truth)} & {row["image_id"] for row in rows}
    images = [image for image in truth.images if image.id in shown][:_MOST_PICTURES]
    chosen = {image.id for image in images}
    places = [place for place, person in enumerate(truth.annotations) if person.image_id in chosen]
    part = replace(
        truth,
        images=images,
        annotations=[truth.annotations[place] for place in places],
        keypoints_image=truth.keypoints_image[places],
    )
    near = {image_id + shift for image_id in chosen for shift in (-1, 0, 1)}
    return Sample(part, [row for row in rows if row["image_id"] in near], skeleton)


def findable(truth: CocoPeople) -> list[tuple[CocoAnnotation, Float[np.ndarray, "K 3"]]]:
    """Everyone who is no crowd and has a labelled keypoint."""
    return [
        (person, keypoints)
        for person, keypoints in zip(truth.annotations, truth.keypoints_image, strict=True)
        if not person.iscrowd and (keypoints[:, 2] > 0).any()
    ]


def extent(points: Float[np.ndarray, "*n K 2"]) -> Corners:
    """The upright box around points."""
    return np.concatenate([points.min(-2), points.max(-2)], axis=-1)


def overlap(first: Corners, second: Corners) -> Float[np.ndarray, "*n"]:
    """Intersection over union; 0 where a box is empty."""
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = sides.clip(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clip(0).prod(-1) for box in (first, second)]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9))
