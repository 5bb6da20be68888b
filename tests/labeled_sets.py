"""Labeled sets that tests make themselves: everything sound, or with one fault."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet
from mspn.structures.boxes import Box, Size
from mspn.structures.skeleton import COCO_17

PEOPLE = 12
"""In a sound set: ids 1 to 12, in images 1 to 6, two in each."""
SIZE = Size(height=200, width=300)

# A figure that stands facing the camera, in a box of 100 x 160 with a margin of 10, in the order of COCO_17.
_STANDING = np.array(
    [
        *([50, 24], [54, 20], [46, 20], [58, 22], [42, 22]),
        *([65, 45], [35, 45], [75, 70], [25, 70], [78, 95], [22, 95]),
        *([60, 90], [40, 90], [62, 120], [38, 120], [64, 150], [36, 150]),
    ],
    float,
)


def sound_set() -> LabeledSet:
    images = [LabeledImage(number, f"{number}.png", SIZE) for number in range(1, PEOPLE // 2 + 1)]
    people = []
    for index in range(PEOPLE):
        # Everybody stands elsewhere: boxes at (10 + 3 i, 15) and (150 + 3 i, 15).
        left, top = 10 + 140 * (index % 2) + 3 * (index // 2), 15
        keypoints = np.column_stack([_STANDING + np.array([left, top]), np.full(17, 2.0)])
        box = Box(left + 10, top + 10, 80, 150)
        people.append(LabeledPerson(index + 1, index // 2 + 1, keypoints, box, area=6000.0))
    return LabeledSet(COCO_17, images, people)


def with_person(labels: LabeledSet, number: int, **changes: Any) -> LabeledSet:
    """The set with fields of one person changed."""
    people = [replace(person, **changes) if person.id == number else person for person in labels.people]
    return replace(labels, people=people)


def with_keypoints(labels: LabeledSet, number: int, changes: Mapping[str, Sequence[float]]) -> LabeledSet:
    """The set with keypoints of one person changed: (x, y, visibility) by name."""
    person = next(person for person in labels.people if person.id == number)
    keypoints = person.keypoints_image.copy()
    for name, row in changes.items():
        keypoints[labels.skeleton.keypoints.index(name)] = row
    return with_person(labels, number, keypoints_image=keypoints)


def with_swapped(labels: LabeledSet, number: int, *parts: str) -> LabeledSet:
    """The set with left and right of some parts of one person swapped, "hip" for example."""
    names = labels.skeleton.keypoints
    keypoints = next(person for person in labels.people if person.id == number).keypoints_image
    changes = {}
    for part in parts:
        left, right = f"left_{part}", f"right_{part}"
        changes |= {left: keypoints[names.index(right)], right: keypoints[names.index(left)]}
    return with_keypoints(labels, number, changes)
