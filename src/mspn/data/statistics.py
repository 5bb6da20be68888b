"""Counting what a labelled set holds."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mspn.data.checks.table import make_table
from mspn.data.labels import LabelledSet
from mspn.records import Size

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True)
class KeypointCount:
    """How often a keypoint is labelled; crowds do not count."""

    visible: int
    occluded: int
    unlabelled: int


@dataclass(frozen=True)
class LabelStatistics:
    """What a labelled set holds; distributions are values at `PERCENTILES`, empty where nothing is known."""

    pictures: int
    pictures_without_people: int
    people: int
    """Crowds are counted apart."""
    crowds: int
    keypoints: dict[str, KeypointCount]
    """By name, in the skeleton's order."""
    people_with_keypoints: list[int]
    """How many people have 0, 1, ... labelled keypoints."""
    people_per_picture: list[float]
    keypoints_per_person: list[float]
    box_heights_px: list[float]
    picture_widths_px: list[float]
    picture_heights_px: list[float]


def count_labels(labels: LabelledSet, true_sizes: Mapping[int, Size]) -> LabelStatistics:
    """Count pictures, people and keypoints.

    Args:
        labels: as they were read.
        true_sizes: of the upright pictures, by id, where they are known; else the label file is believed.
    """
    table = make_table(labels, true_sizes)
    is_person = ~np.array([person.is_crowd for person in labels.people], bool)
    per_picture = Counter(person.picture_id for person in labels.people if not person.is_crowd)
    visibility = table.visibility[is_person]
    counts = (visibility > 0).sum(1)
    sizes = [true_sizes.get(picture.id, picture.size) for picture in labels.pictures]
    heights = table.boxes[is_person, 3]
    return LabelStatistics(
        pictures=len(labels.pictures),
        pictures_without_people=sum(picture.id not in per_picture for picture in labels.pictures),
        people=int(is_person.sum()),
        crowds=int((~is_person).sum()),
        keypoints={
            name: KeypointCount(
                visible=int((column == 2).sum()),
                occluded=int((column == 1).sum()),
                unlabelled=int((column == 0).sum()),
            )
            for name, column in zip(labels.skeleton.keypoints, visibility.T, strict=True)
        },
        people_with_keypoints=np.bincount(counts, minlength=len(labels.skeleton.keypoints) + 1).tolist(),
        people_per_picture=_distribution([per_picture[picture.id] for picture in labels.pictures]),
        keypoints_per_person=_distribution(counts),
        box_heights_px=_distribution(heights[np.isfinite(heights)]),
        picture_widths_px=_distribution([size.width for size in sizes if size is not None]),
        picture_heights_px=_distribution([size.height for size in sizes if size is not None]),
    )


def _distribution(values: object) -> list[float]:
    numbers = np.asarray(values, np.float64)
    if numbers.size == 0:
        return []
    return [round(float(value), 1) for value in np.percentile(numbers, PERCENTILES, method="nearest")]
