"""From labels and what was found for their people to PCKh and PCK."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from mspn.data.formats import recognise_format
from mspn.data.label_files import AnnotationError
from mspn.data.labels import LabelledSet
from mspn.evaluate.percentage_correct import (
    NOTHING_TO_FIND,
    PCK_BOX,
    PCK_TORSO,
    PCKH,
    Measure,
    PercentageCorrect,
    percentage_correct,
)
from mspn.evaluate.person_keypoints import PersonKeypoints
from mspn.evaluate.reference_lengths import has_torso, reference_lengths
from mspn.skeleton import LSP_14, Skeleton

logger = logging.getLogger(__name__)

Metric = Literal["oks", "pckh", "pck"]
_METRICS_OF_FORMATS: dict[str, Metric] = {"mpii": "pckh", "mpii-mat": "pckh", "lsp": "pck"}

_LSP_PEOPLE = 2000
_LSP_TRAINED = 1000
"""LSP lists its training half first."""


@dataclass(frozen=True)
class MeasuredPeople:
    """What was found, and of whom."""

    correct: PercentageCorrect
    keypoints: tuple[str, ...]
    """Those that are labelled in somebody, and that what was found has; the others are not measured."""
    num_people: int
    """People of unknown size are not among them; those for whom nothing was found are, with everything missed."""


def default_metric(labels: Path) -> Metric:
    """The metric that people use for labels of this format; COCO's where the file cannot be read."""
    try:
        return _METRICS_OF_FORMATS.get(recognise_format(labels), "oks")
    except AnnotationError:
        return "oks"


def measure_of(metric: Literal["pckh", "pck"], skeleton: Skeleton) -> Measure:
    """PCK takes the torso for its unit where the labels have one, else the box."""
    if metric == "pckh":
        return PCKH
    return PCK_TORSO if has_torso(skeleton) else PCK_BOX


def people_to_measure(labels: LabelledSet, path: Path) -> LabelledSet:
    """The labels with just the people who have a labelled keypoint and are no crowd, and of LSP its test half.

    Raises:
        AnnotationError: if there is nobody.
    """
    people = labels.people
    if labels.skeleton == LSP_14 and len(people) == _LSP_PEOPLE:
        people = people[_LSP_TRAINED:]
        logger.info("%s is all of LSP: its second half, the test set, is measured", path)
    people = [person for person in people if not person.is_crowd and (person.keypoints_image[:, 2] > 0).any()]
    if not people:
        raise AnnotationError(
            f"nobody in {path} has a labelled keypoint; labels of a test set are kept back, take others"
        )
    return replace(labels, people=people)


def measure_people(labels: LabelledSet, found: PersonKeypoints, measure: Measure) -> MeasuredPeople:
    """Compare what was found with the labels; keypoints are matched by name.

    Raises:
        AnnotationError: if nobody's size is known, or no keypoint is in both.
    """
    names = labels.skeleton.keypoints
    shared = tuple(name for name in names if name in found.skeleton.keypoints)
    lengths = reference_lengths(labels.people, labels.skeleton, measure.reference)
    has_length = lengths > 0
    if not shared or not has_length.any():
        lacking = f"keypoint that {found.skeleton.name} has too" if not shared else f"{measure.reference} to measure by"
        raise AnnotationError(f"the labels have no {lacking}; choose another --metric or other labels")
    people = [person for person, has in zip(labels.people, has_length, strict=True) if has]
    truth = np.stack([person.keypoints_image for person in people])
    is_shared = np.array([name in shared for name in names])
    errors = np.linalg.norm(
        _in_order(found, labels.skeleton, [person.id for person in people]) - truth[..., :2], axis=2
    )
    correct = percentage_correct(
        errors_px=np.where(np.isnan(errors), np.inf, errors),
        lengths_px=lengths[has_length],
        labelled=(truth[..., 2] > 0) & is_shared,
        skeleton=labels.skeleton,
        measure=measure,
    )
    unknown = len(labels.people) - len(people)
    missing = sum(person.id not in found.keypoints_image for person in people)
    if unknown:
        logger.warning("%d people are left out: the labels do not tell their %s", unknown, measure.reference)
    if missing:
        logger.warning("%d of %d people have no result; all their keypoints count as missed", missing, len(people))
    if len(shared) < len(names):
        lacking = ", ".join(name for name in names if name not in shared)
        logger.warning("not measured, so not comparable with published numbers: the results have no %s", lacking)
    labelled = tuple(name for name, share in correct.by_keypoint.items() if share != NOTHING_TO_FIND)
    return MeasuredPeople(correct, labelled, len(people))


def _in_order(found: PersonKeypoints, skeleton: Skeleton, person_ids: list[int]) -> Float[np.ndarray, "N K 2"]:
    """Found keypoints in the order of people and of a skeleton; NaN where there are none."""
    positions = np.full((len(person_ids), len(skeleton.keypoints), 2), np.nan)
    targets = [index for index, name in enumerate(skeleton.keypoints) if name in found.skeleton.keypoints]
    sources = [found.skeleton.keypoints.index(skeleton.keypoints[index]) for index in targets]
    for row, person_id in enumerate(person_ids):
        if person_id in found.keypoints_image:
            positions[row, targets] = found.keypoints_image[person_id][sources]
    return positions
