"""From labels and what was found for their people to PCKh and PCK."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from mspn.errors import AnnotationError
from mspn.evaluation.metrics.pck import (
    PCK_BOX,
    PCK_TORSO,
    PCKH,
    UNDEFINED_SHARE,
    Measure,
    PckResult,
    compute_pck,
    has_torso,
    reference_lengths,
)
from mspn.evaluation.predicting import PersonKeypoints
from mspn.labels.formats import recognize_format
from mspn.labels.label_set import LabeledSet
from mspn.structures.skeleton import Skeleton
from mspn.structures.skeletons import LSP_14

logger = logging.getLogger(__name__)

KeypointMetric = Literal["pckh", "pck"]
Metric = Literal["oks"] | KeypointMetric
_METRICS_OF_FORMATS: dict[str, Metric] = {"mpii": "pckh", "mpii-mat": "pckh", "lsp": "pck"}

_LSP_PEOPLE = 2000
_LSP_TRAINED = 1000
"""LSP lists its training half first."""


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Those of a labeled set whose keypoints can be measured, and by what."""

    labels: LabeledSet
    measure: Measure
    lengths_px: Float[np.ndarray, " N"]
    """Reference length of each person, above 0."""


@dataclass(frozen=True)
class PckEvaluation:
    """What was found, and of whom."""

    correct: PckResult
    keypoints: tuple[str, ...]
    """Those that are labeled in somebody, and that what was found has; the others are not measured."""
    num_people: int
    """Also those for whom nothing was found, and who therefore have missed everything."""


def default_metric(labels: Path) -> Metric:
    """The metric that people use for labels of this format; COCO's where the file cannot be read."""
    try:
        return _METRICS_OF_FORMATS.get(recognize_format(labels), "oks")
    except AnnotationError:
        return "oks"


def pck_definition(metric: KeypointMetric, skeleton: Skeleton) -> Measure:
    """PCK takes the torso for its unit where the labels have one, else the box."""
    if metric == "pckh":
        return PCKH
    return PCK_TORSO if has_torso(skeleton) else PCK_BOX


def read_evaluation_set(labels: LabeledSet, path: Path, metric: KeypointMetric) -> EvaluationSet:
    """Everyone of known size who has a labeled keypoint and is no crowd; of LSP its test half.

    Raises:
        AnnotationError: if there is nobody, or if PCKh is asked for and somebody has no head box.
    """
    people = labels.people
    if labels.skeleton == LSP_14 and len(people) == _LSP_PEOPLE:
        people = people[_LSP_TRAINED:]
        logger.info("%s is all of LSP: its second half, the test set, is measured", path)
    people = [person for person in people if not person.is_crowd and (person.keypoints_image[:, 2] > 0).any()]
    if not people:
        raise AnnotationError(
            f"nobody in {path} has a labeled keypoint; labels of a test set are kept back, take others"
        )
    measure = pck_definition(metric, labels.skeleton)
    lengths = reference_lengths(people, labels.skeleton, measure.reference)
    is_known = lengths > 0
    if not is_known.any():
        raise AnnotationError(f"{path} does not tell anybody's {measure.reference}; choose another --metric")
    if not is_known.all():
        unknown = int((~is_known).sum())
        logger.warning("%d people are left out: the labels do not tell their %s", unknown, measure.reference)
    people = [person for person, known in zip(people, is_known, strict=True) if known]
    return EvaluationSet(replace(labels, people=people), measure, lengths[is_known])


def evaluate_pck(whom: EvaluationSet, found: PersonKeypoints) -> PckEvaluation:
    """Compare what was found with the labels; keypoints are matched by name.

    Raises:
        AnnotationError: if no keypoint is in both.
    """
    people, skeleton = whom.labels.people, whom.labels.skeleton
    is_shared = np.array([name in found.skeleton.keypoints for name in skeleton.keypoints])
    if not is_shared.any():
        raise AnnotationError(f"the labels have no keypoint of {found.skeleton.name}; their names must be the same")
    missing = sum(person.id not in found.keypoints_image for person in people)
    if missing:
        logger.warning("%d of %d people have no result; all their keypoints count as missed", missing, len(people))
    if not is_shared.all():
        lacking = ", ".join(name for name, shared in zip(skeleton.keypoints, is_shared, strict=True) if not shared)
        logger.warning("not measured, so not comparable with published numbers: the results have no %s", lacking)
    ground_truth = np.stack([person.keypoints_image for person in people])
    positions = _in_order(found, skeleton, [person.id for person in people])
    errors = np.linalg.norm(positions - ground_truth[..., :2], axis=2)
    correct = compute_pck(
        errors_px=np.where(np.isnan(errors), np.inf, errors),
        lengths_px=whom.lengths_px,
        labeled=(ground_truth[..., 2] > 0) & is_shared,
        skeleton=skeleton,
        measure=whom.measure,
    )
    labeled = tuple(name for name, share in correct.by_keypoint.items() if share != UNDEFINED_SHARE)
    return PckEvaluation(correct, labeled, len(people))


def _in_order(found: PersonKeypoints, skeleton: Skeleton, person_ids: list[int]) -> Float[np.ndarray, "N K 2"]:
    """Found keypoints in the order of people and of a skeleton; NaN where there are none."""
    positions = np.full((len(person_ids), len(skeleton.keypoints), 2), np.nan)
    targets = [index for index, name in enumerate(skeleton.keypoints) if name in found.skeleton.keypoints]
    sources = [found.skeleton.keypoints.index(skeleton.keypoints[index]) for index in targets]
    for row, person_id in enumerate(person_ids):
        if person_id in found.keypoints_image:
            positions[row, targets] = found.keypoints_image[person_id][sources]
    return positions
