"""Counts of images, people and keypoints in a labeled set."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mspn.labels.checks.label_table import make_table
from mspn.labels.label_set import LabeledSet
from mspn.structures.boxes import Size

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True)
class KeypointCount:
    """How often a keypoint is labeled; crowds do not count."""

    visible: int
    occluded: int
    unlabeled: int


@dataclass(frozen=True)
class LabelStatistics:
    """What a labeled set holds; distributions are values at `PERCENTILES`, empty where nothing is known."""

    images: int
    images_without_people: int
    people: int
    """Crowds are counted apart."""
    crowds: int
    keypoints: dict[str, KeypointCount]
    """By name, in the skeleton's order."""
    people_with_keypoints: list[int]
    """How many people have 0, 1, ... labeled keypoints."""
    people_per_image: list[float]
    keypoints_per_person: list[float]
    box_heights_px: list[float]
    image_widths_px: list[float]
    image_heights_px: list[float]


def count_labels(labels: LabeledSet, true_sizes: Mapping[int, Size]) -> LabelStatistics:
    """Count images, people and keypoints.

    Args:
        labels: as they were read.
        true_sizes: of the upright images, by id; images that are not in it have the size in the label file.
    """
    table = make_table(labels, true_sizes)
    is_person = ~np.array([person.is_crowd for person in labels.people], bool)
    per_image = Counter(person.image_id for person in labels.people if not person.is_crowd)
    visibility = table.visibility[is_person]
    counts = (visibility > 0).sum(1)
    sizes = [true_sizes.get(image.id, image.size) for image in labels.images]
    heights = table.boxes[is_person, 3]
    return LabelStatistics(
        images=len(labels.images),
        images_without_people=sum(image.id not in per_image for image in labels.images),
        people=int(is_person.sum()),
        crowds=int((~is_person).sum()),
        keypoints={
            name: KeypointCount(
                visible=int((column == 2).sum()),
                occluded=int((column == 1).sum()),
                unlabeled=int((column == 0).sum()),
            )
            for name, column in zip(labels.skeleton.keypoints, visibility.T, strict=True)
        },
        people_with_keypoints=np.bincount(counts, minlength=len(labels.skeleton.keypoints) + 1).tolist(),
        people_per_image=_distribution([per_image[image.id] for image in labels.images]),
        keypoints_per_person=_distribution(counts),
        box_heights_px=_distribution(heights[np.isfinite(heights)]),
        image_widths_px=_distribution([size.width for size in sizes if size is not None]),
        image_heights_px=_distribution([size.height for size in sizes if size is not None]),
    )


def _distribution(values: object) -> list[float]:
    numbers = np.asarray(values, np.float64)
    if numbers.size == 0:
        return []
    return [round(float(value), 1) for value in np.percentile(numbers, PERCENTILES, method="nearest")]
