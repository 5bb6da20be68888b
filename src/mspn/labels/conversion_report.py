"""What is not read, or has no place in a format, is counted and said, one line a kind, before it is left out."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mspn.labels.label_set import LabeledSet
from mspn.structures.skeleton import Skeleton, convert_keypoints

logger = logging.getLogger(__name__)


def warn_dropped(path: Path, count: int, what: str) -> None:
    """Say that something is left out, if anything is."""
    if count:
        logger.warning("%s: %s (%d)", path, what, count)


def report_fields(
    labels: LabeledSet,
    path: Path,
    *,
    people: Collection[str] = (),
    images: Collection[str] = (),
    file: Collection[str] = (),
) -> None:
    """Say which further fields of the source are not written; those that are stand in the arguments."""
    warn_dropped(path, sum(person.area is not None for person in labels.people), "areas of people are left out")
    _report(path, "people", (person.extra for person in labels.people), people)
    _report(path, "images", (image.extra for image in labels.images), images)
    _report(path, "the whole file", [labels.extra], ("categories", *file))


def report_occluded(labels: LabeledSet, path: Path) -> None:
    """Say how many keypoints lose their being occluded."""
    count = sum(int((person.keypoints_image[:, 2] == 1).sum()) for person in labels.people)
    warn_dropped(path, count, "occluded keypoints are written as visible ones")


def without_crowds(labels: LabeledSet, path: Path) -> LabeledSet:
    """The labels without crowds, for a format that would take them for people."""
    people = [person for person in labels.people if not person.is_crowd]
    warn_dropped(path, len(labels.people) - len(people), "crowds are left out, the format has none")
    return replace(labels, people=people)


def to_skeleton(labels: LabeledSet, skeleton: Skeleton, path: Path) -> LabeledSet:
    """The labels in the order of a format's own keypoints, by name; what it does not have is left out."""
    names = labels.skeleton.keypoints
    missing = [index for index, name in enumerate(names) if name not in skeleton.keypoints]
    count = sum(int((person.keypoints_image[missing, 2] > 0).sum()) for person in labels.people)
    listed = ", ".join(names[index] for index in missing)
    warn_dropped(path, count, f"keypoints left out that {skeleton.name} does not have: {listed}")
    people = [
        replace(person, keypoints_image=convert_keypoints(person.keypoints_image, labels.skeleton, skeleton))
        for person in labels.people
    ]
    return replace(labels, skeleton=skeleton, people=people)


def _report(path: Path, whose: str, extras: Iterable[Mapping[str, Any]], written: Collection[str]) -> None:
    lost = [extra.keys() - set(written) for extra in extras]
    names = ", ".join(sorted(set().union(*lost)))
    warn_dropped(path, sum(map(bool, lost)), f"fields of {whose} are left out: {names}")
