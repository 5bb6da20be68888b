"""Warnings, once per kind, about data that a format cannot represent."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mspn.labels.label_set import LabeledSet
from mspn.structures.skeleton import Skeleton, convert_keypoints, match_keypoints

logger = logging.getLogger(__name__)


def warn_dropped(path: Path, count: int, what: str) -> None:
    """Warn that `count` things are left out, if there are any."""
    if count:
        logger.warning("%s: %s (%d)", path, what, count)


def warn_dropped_fields(
    labels: LabeledSet,
    path: Path,
    *,
    people: Collection[str] = (),
    images: Collection[str] = (),
    file: Collection[str] = (),
) -> None:
    """Warn of the fields of the source that are not written; the arguments name those that are."""
    warn_dropped(path, sum(person.area is not None for person in labels.people), "areas of people are left out")
    _warn_keys(path, "people", (person.extra for person in labels.people), people)
    _warn_keys(path, "images", (image.extra for image in labels.images), images)
    _warn_keys(path, "the whole file", [labels.extra], ("categories", *file))


def warn_occluded(labels: LabeledSet, path: Path) -> None:
    """Warn of occluded keypoints, which the format writes as visible."""
    count = sum(int((person.keypoints_image[:, 2] == 1).sum()) for person in labels.people)
    warn_dropped(path, count, "occluded keypoints are written as visible ones")


def without_crowds(labels: LabeledSet, path: Path) -> LabeledSet:
    """The labels without crowds, for a format that cannot tell them from people."""
    people = [person for person in labels.people if not person.is_crowd]
    warn_dropped(path, len(labels.people) - len(people), "crowds are left out, the format has none")
    return replace(labels, people=people)


def to_skeleton(labels: LabeledSet, skeleton: Skeleton, path: Path) -> LabeledSet:
    """The labels in the order of a format's own keypoints, by name; what it does not have is left out."""
    names = labels.skeleton.keypoints
    matched = match_keypoints(names, skeleton.keypoints).values()
    missing = [index for index, name in enumerate(names) if name not in matched]
    count = sum(int((person.keypoints_image[missing, 2] > 0).sum()) for person in labels.people)
    listed = ", ".join(names[index] for index in missing)
    warn_dropped(path, count, f"keypoints left out that {skeleton.name} does not have: {listed}")
    people = [
        replace(person, keypoints_image=convert_keypoints(person.keypoints_image, labels.skeleton, skeleton))
        for person in labels.people
    ]
    return replace(labels, skeleton=skeleton, people=people)


def _warn_keys(path: Path, whose: str, extras: Iterable[Mapping[str, Any]], written: Collection[str]) -> None:
    dropped = [extra.keys() - set(written) for extra in extras]
    names = ", ".join(sorted(set().union(*dropped)))
    warn_dropped(path, sum(map(bool, dropped)), f"fields of {whose} are left out: {names}")
