"""PCKh and PCK of a labeled set: the people evaluated, the definition, and results matched with labels."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import BaseModel, FiniteFloat

from mspn.errors import AnnotationError
from mspn.evaluation.pck import (
    PCK_BOX,
    PCK_TORSO,
    PCKH,
    UNDEFINED_SHARE,
    PckDefinition,
    PckResult,
    compute_pck,
    has_torso,
    reference_lengths,
)
from mspn.evaluation.predicting import PersonKeypoints
from mspn.io.matlab import read_mat
from mspn.labels.formats import recognize_format
from mspn.labels.label_set import LabeledSet
from mspn.labels.reading import check_form, read_json
from mspn.structures.shapes import Float
from mspn.structures.skeleton import COCO_17, LSP_14, MPII_16, Skeleton, match_keypoints

logger = logging.getLogger(__name__)

KeypointMetric = Literal["pckh", "pck"]
Metric = Literal["oks"] | KeypointMetric
_METRICS_OF_FORMATS: dict[str, Metric] = {"mpii": "pckh", "mpii-mat": "pckh", "lsp": "pck"}

_NUM_LSP_PEOPLE = 2000
_NUM_LSP_TRAINING_PEOPLE = 1000
"""LSP lists its training half first."""


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """The people of a labeled set who are evaluated, and the definition of PCK."""

    labels: LabeledSet
    definition: PckDefinition
    lengths_px: Float[np.ndarray, " N"]
    """Reference length of each person, above 0."""


@dataclass(frozen=True)
class PckEvaluation:
    """PCK of a labeled set, and the keypoints and people it covers."""

    pck: PckResult
    keypoints: tuple[str, ...]
    """Keypoints that both labels and results have; others are not evaluated."""
    num_people: int
    """Including people without a result, whose keypoints all count as wrong."""


def default_metric(labels: Path) -> Metric:
    """The usual metric for labels of this format; COCO's if the file cannot be read."""
    try:
        return _METRICS_OF_FORMATS.get(recognize_format(labels), "oks")
    except AnnotationError:
        return "oks"


def pck_definition(metric: KeypointMetric, skeleton: Skeleton) -> PckDefinition:
    """The definition of a metric; PCK is relative to the torso where the skeleton has one, else to the box."""
    if metric == "pckh":
        return PCKH
    return PCK_TORSO if has_torso(skeleton) else PCK_BOX


def read_evaluation_set(labels: LabeledSet, path: Path, metric: KeypointMetric) -> EvaluationSet:
    """Select people with a reference length and a labeled keypoint, without crowds; of LSP, the test half.

    Raises:
        AnnotationError: if no person is left, or if the metric is PCKh and a person has no head box.
    """
    people = labels.people
    if labels.skeleton == LSP_14 and len(people) == _NUM_LSP_PEOPLE:
        people = people[_NUM_LSP_TRAINING_PEOPLE:]
        logger.info("%s is all of LSP: only its second half, the test set, is evaluated", path)
    people = [person for person in people if not person.is_crowd and (person.keypoints_image[:, 2] > 0).any()]
    if not people:
        raise AnnotationError(
            f"no person in {path} has a labeled keypoint; labels of test sets are not published, give others"
        )
    definition = pck_definition(metric, labels.skeleton)
    lengths = reference_lengths(people, labels.skeleton, definition.reference)
    is_known = lengths > 0
    if not is_known.any():
        raise AnnotationError(f"{path} has no person with a known {definition.reference}; choose another --metric")
    if not is_known.all():
        unknown = int((~is_known).sum())
        logger.warning("%d people are left out: their %s is not labeled", unknown, definition.reference)
    people = [person for person, known in zip(people, is_known, strict=True) if known]
    return EvaluationSet(replace(labels, people=people), definition, lengths[is_known])


def evaluate_pck(evaluation_set: EvaluationSet, predictions: PersonKeypoints) -> PckEvaluation:
    """Compute PCK of predictions; keypoints are matched by name.

    Raises:
        AnnotationError: if no keypoint is in both.
    """
    people, skeleton = evaluation_set.labels.people, evaluation_set.labels.skeleton
    matched = match_keypoints(predictions.skeleton.keypoints, skeleton.keypoints)
    is_shared = np.array([name in matched for name in skeleton.keypoints])
    if not is_shared.any():
        raise AnnotationError(
            f"the labels have no keypoint of {predictions.skeleton.name}; their names must be the same"
        )
    missing = sum(person.id not in predictions.keypoints_image for person in people)
    if missing:
        logger.warning("%d of %d people have no result; all their keypoints count as missed", missing, len(people))
    if not is_shared.all():
        lacking = ", ".join(name for name, shared in zip(skeleton.keypoints, is_shared, strict=True) if not shared)
        logger.warning("not evaluated, so not comparable with published numbers: the results have no %s", lacking)
    ground_truth = np.stack([person.keypoints_image for person in people])
    positions = _align_predictions(predictions, skeleton, [person.id for person in people])
    errors = np.linalg.norm(positions - ground_truth[..., :2], axis=2)
    pck = compute_pck(
        errors_px=np.where(np.isnan(errors), np.inf, errors),
        lengths_px=evaluation_set.lengths_px,
        labeled=(ground_truth[..., 2] > 0) & is_shared,
        skeleton=skeleton,
        definition=evaluation_set.definition,
    )
    labeled = tuple(name for name, share in pck.by_keypoint.items() if share != UNDEFINED_SHARE)
    return PckEvaluation(pck, labeled, len(people))


def _align_predictions(
    predictions: PersonKeypoints, skeleton: Skeleton, person_ids: list[int]
) -> Float[np.ndarray, "N K 2"]:
    """Predicted keypoints in the order of the people and of a skeleton's keypoints; NaN where missing."""
    positions = np.full((len(person_ids), len(skeleton.keypoints), 2), np.nan)
    matched = match_keypoints(predictions.skeleton.keypoints, skeleton.keypoints)
    targets = [skeleton.keypoints.index(name) for name in matched]
    sources = [predictions.skeleton.keypoints.index(name) for name in matched.values()]
    for row, person_id in enumerate(person_ids):
        if person_id in predictions.keypoints_image:
            positions[row, targets] = predictions.keypoints_image[person_id][sources]
    return positions


class _ResultRow(BaseModel):
    """A row of a COCO results list, with the person it belongs to."""

    image_id: int
    keypoints: list[FiniteFloat]
    """K times x, y in image pixels, and a score that is not used."""
    annotation_id: int | None = None
    """The person's id; may be missing where an image has one person."""
    file_name: str | None = None
    """Of the image; takes precedence over `image_id`, which only COCO's labels have."""


def read_person_keypoints(path: Path, labels: LabeledSet) -> PersonKeypoints:
    """Read the results of any system.

    Args:
        path: a COCO results list, each row with the `annotation_id` of its person unless the image has just one,
            and with the keypoints of the labels or COCO's 17. Or, for MPII, a .mat as HRNet writes it: `preds`,
            N x 16 x 2, counted from 1, in the order of the labels.
        labels: the people.

    Raises:
        AnnotationError: if the file has another form, or if it is not clear which person a result belongs to.
    """
    if path.suffix.lower() == ".mat":
        return _read_mat_keypoints(path, labels)
    rows = check_form(path, read_json(path), list[_ResultRow], "a COCO results list")
    lengths = {len(row.keypoints) for row in rows}
    known = {3 * len(skeleton.keypoints): skeleton for skeleton in (COCO_17, labels.skeleton)}
    if len(lengths) > 1 or not lengths <= set(known):
        raise AnnotationError(
            f"{path} has rows of {', '.join(map(str, sorted(lengths)))} keypoint numbers; all must have"
            f" {' or all '.join(map(str, sorted(known)))}"
        )
    keypoints: dict[int, np.ndarray] = {}
    for number, (row, owner) in enumerate(zip(rows, _owners(path, rows, labels), strict=True)):
        if owner in keypoints:
            raise AnnotationError(f"{path}: row {number} is a second result for person {owner}; leave one")
        if owner is not None:
            keypoints[owner] = np.array(row.keypoints).reshape(-1, 3)[:, :2]
    return PersonKeypoints(known[lengths.pop()] if lengths else labels.skeleton, keypoints)


def _owners(path: Path, rows: Sequence[_ResultRow], labels: LabeledSet) -> list[int | None]:
    """Id of the person of each row; None where the image has no labeled person."""
    ids = {person.id for person in labels.people}
    in_image: dict[int, list[int]] = {image.id: [] for image in labels.images}
    for person in labels.people:
        in_image[person.image_id].append(person.id)
    by_name = {image.file_name: image.id for image in labels.images}
    owners: list[int | None] = []
    for number, row in enumerate(rows):
        image_id = row.image_id if row.file_name is None else _find_by_name(row.file_name, by_name)
        if image_id not in in_image:
            name = row.image_id if row.file_name is None else row.file_name
            raise AnnotationError(f"{path}: row {number} is of image {name}, which is not among the labeled ones")
        people = in_image[image_id]
        if row.annotation_id is not None:
            if row.annotation_id not in ids:
                raise AnnotationError(f"{path}: row {number} is of person {row.annotation_id}, not in the labels")
            owners.append(row.annotation_id)
        elif len(people) > 1:
            raise AnnotationError(
                f"{path}: row {number} is of an image with {len(people)} labeled people; it must have an annotation_id"
            )
        else:
            owners.append(people[0] if people else None)
    return owners


def _find_by_name(file_name: str, ids: Mapping[str, int]) -> int | None:
    """The id of an image by its path, with or without leading folders."""
    parts = PurePosixPath(file_name).parts
    keys = ("/".join(parts[first:]) for first in range(len(parts)))
    return next((ids[key] for key in keys if key in ids), None)


def _read_mat_keypoints(path: Path, labels: LabeledSet) -> PersonKeypoints:
    if labels.skeleton != MPII_16:
        raise AnnotationError(f"{path}: results in .mat are read for MPII's labels only; give a COCO results list")
    predictions = np.asarray(read_mat(path, "preds"), np.float64)
    shape = (len(labels.people), len(MPII_16.keypoints), 2)
    if predictions.size != np.prod(shape) or predictions.shape[-1] != 2 or not np.isfinite(predictions).all():
        raise AnnotationError(
            f"{path}: preds are {predictions.shape}, not {shape} finite numbers; is it of the same split?"
        )
    points = predictions.reshape(shape) - 1  # the file counts pixels from 1
    return PersonKeypoints(MPII_16, {person.id: rows for person, rows in zip(labels.people, points, strict=True)})
