"""Corrections of labels, in a separate file that `mspn data review` writes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mspn.errors import AnnotationError
from mspn.io.files import write_text
from mspn.labels.label_set import LabeledPerson, LabeledSet
from mspn.labels.reading import check_form, digest_of_labels, read_json
from mspn.structures.skeleton import Skeleton


class Correction(BaseModel):
    """A change of one person's labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    swap: tuple[tuple[str, str], ...] = ()
    """Pairs of keypoints to exchange, with their visibility."""
    leave_out: tuple[str, ...] = ()
    """Keypoints that count as unlabeled, by their names after the swap."""
    reason: str = ""
    """The numbers that led to it, for people."""


class _CorrectionsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    labels: str
    """Name of the file or folder, for people."""
    labels_sha256: str
    models: tuple[str, ...]
    """The networks that the labels were compared with."""
    people: dict[int, Correction]
    """By the person's id."""


def write_corrections(path: Path, labels: Path, models: tuple[str, ...], corrections: Mapping[int, Correction]) -> None:
    """Write corrections of the labels in a file or folder; entries may be deleted by hand later."""
    content = _CorrectionsFile(
        labels=labels.name, labels_sha256=digest_of_labels(labels), models=models, people=dict(corrections)
    )
    write_text(path, content.model_dump_json(indent=1, exclude_defaults=True) + "\n")


def read_corrections(path: Path, labels: Path) -> dict[int, Correction]:
    """Read corrections by the person's id.

    Args:
        path: of the corrections.
        labels: what they must be of. Of labels that were changed since, a pair might be swapped back.

    Raises:
        AnnotationError: if the file has another form, or is of other labels.
    """
    content = check_form(path, read_json(path), _CorrectionsFile, "a file of corrections, as `mspn data review` writes")
    if content.labels_sha256 != digest_of_labels(labels):
        raise AnnotationError(
            f"{path} corrects {content.labels}, which is not {labels} as it is now;"
            " write the corrections of this one with `mspn data review`"
        )
    return content.people


def correct_labels(labels: LabeledSet, corrections: Mapping[int, Correction], source: Path) -> LabeledSet:
    """The labels with corrections applied.

    Args:
        labels: as they were read.
        corrections: by the person's id.
        source: what errors call the corrections.

    Raises:
        AnnotationError: if they name a keypoint or a person that the labels do not have, or one of several people with
            the same id.
    """
    counts = Counter(person.id for person in labels.people)
    for number, correction in corrections.items():
        if counts[number] != 1:
            who = "several people" if counts[number] else "nobody"
            raise AnnotationError(f"{source}: the labels have {who} with the id {number}; delete the entry")
        for name in (*(name for pair in correction.swap for name in pair), *correction.leave_out):
            if name not in labels.skeleton.keypoints:
                raise AnnotationError(
                    f"{source}: person {number}: the labels have no keypoint {name!r}; they have"
                    f" {', '.join(labels.skeleton.keypoints)}"
                )
    people = [
        correct_person(person, corrections[person.id], labels.skeleton) if person.id in corrections else person
        for person in labels.people
    ]
    return replace(labels, people=people)


def correct_person(person: LabeledPerson, correction: Correction, skeleton: Skeleton) -> LabeledPerson:
    """The person with pairs exchanged, and without the keypoints to leave out."""
    keypoints = person.keypoints_image.copy()
    for pair in correction.swap:
        first, second = map(skeleton.keypoints.index, pair)
        keypoints[[first, second]] = keypoints[[second, first]]
    keypoints[[skeleton.keypoints.index(name) for name in correction.leave_out]] = 0
    return replace(person, keypoints_image=keypoints)
