"""Keypoints found for each labelled person: what PCKh and PCK measure, unlike average precision."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, FiniteFloat

from mspn.data.label_files import AnnotationError, check_form, read_json
from mspn.data.labels import LabelledPerson, LabelledSet, box_around
from mspn.data.mat_files import read_mat
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import predict_pictures
from mspn.predict.writers.coco import coco_result
from mspn.processes import ALONE, Processes
from mspn.records import Box, Detection
from mspn.skeleton import COCO_17, MPII_16, Skeleton
from mspn.sources.open import open_source

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PersonKeypoints:
    """What was found for the people of a labelled set."""

    skeleton: Skeleton
    keypoints_image: dict[int, Float[np.ndarray, "K 2"]]
    """By the person's id; people for whom nothing was found are left out."""
    failed: int = 0
    """Pictures and boxes that could not be used; each was logged."""


class _Row(BaseModel):
    """A row of a COCO results list that says whom it is of."""

    image_id: int
    keypoints: list[FiniteFloat]
    """K times x, y in image pixels, and a score that is not used."""
    annotation_id: int | None = None
    """The person's id; may be missing where a picture has one person."""
    file_name: str | None = None
    """Of the picture; says it instead of `image_id`, which formats other than COCO do not have."""


def predict_labelled(
    estimator: PoseEstimator,
    labels: LabelledSet,
    images: Path,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    processes: Processes = ALONE,
) -> tuple[PersonKeypoints, list[dict[str, Any]]]:
    """Estimate the pose in everyone's labelled box, or in the one around their keypoints where they have none.

    Args:
        estimator: network and test settings; its detector is not asked.
        labels: the people.
        images: folder of the pictures.
        report: told how many pictures are done, and of how many, in this process.
        processes: who shares the pictures; each gets all results.

    Returns:
        What was found, also as a COCO results list with everyone's `annotation_id`.

    Raises:
        AnnotationError: if not one picture could be used.
        FileNotFoundError: if the folder of pictures is missing.
    """
    if not images.is_dir():
        raise FileNotFoundError(f"no folder of pictures at {images}; --images must name it")
    in_picture: dict[int, list[LabelledPerson]] = {}
    for person in labels.people:
        in_picture.setdefault(person.picture_id, []).append(person)
    pictures = processes.share([picture for picture in labels.pictures if picture.id in in_picture])
    picture_ids = {str(images / picture.file_name): picture.id for picture in pictures}
    boxes = {person.id: person.box or box_around(person.keypoints_image) for person in labels.people}

    def detections(source: str) -> list[Detection]:
        found = [boxes[person.id] for person in in_picture[picture_ids[source]]]
        return [Detection(box, 1.0) for box in found if box]

    results = predict_pictures(
        estimator,
        chain.from_iterable(open_source(Path(path)) for path in picture_ids),
        find=lambda picture: detections(picture.source),
        keep_pixels=False,
    )
    found: list[tuple[int, np.ndarray, dict[str, Any]]] = []
    failed = 0
    for done, result in enumerate(results, start=1):
        for problem in result.problems:
            logger.warning("skipped: %s", problem)
        failed += len(result.problems)
        picture_id = picture_ids[result.source]
        # Two people with the same box get the same crop, and so the same pose.
        poses = {pose.box: pose for pose in result.poses}
        for person in in_picture[picture_id]:
            pose = poses.get(boxes[person.id] or Box(0, 0, 0, 0))
            if pose is not None:
                row = coco_result(pose, picture_id) | {"annotation_id": person.id}
                found.append((person.id, pose.keypoints_image, row))
        report(done, len(picture_ids))
    found = sorted(processes.gather(found), key=lambda one: one[0])
    failed = sum(processes.gather([failed]))
    if not found:
        raise AnnotationError(f"not one picture in {images} could be used; is it the right folder?")
    keypoints = {person_id: keypoints for person_id, keypoints, _ in found}
    return PersonKeypoints(estimator.recipe.keypoint_table, keypoints, failed), [row for *_, row in found]


def read_person_keypoints(path: Path, labels: LabelledSet) -> PersonKeypoints:
    """Read the results of any system.

    Args:
        path: a COCO results list, each row with the `annotation_id` of its person unless the picture has just one,
            and with the keypoints of the labels or COCO's 17. Or, for MPII, a .mat as HRNet writes it: `preds`,
            N x 16 x 2, counted from 1, in the order of the labels.
        labels: the people.

    Raises:
        AnnotationError: if the file is of another form, or it is not clear whom a result is of.
    """
    if path.suffix.lower() == ".mat":
        return _read_mat_keypoints(path, labels)
    rows = check_form(path, read_json(path), list[_Row], "a COCO results list")
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


def _owners(path: Path, rows: Sequence[_Row], labels: LabelledSet) -> list[int | None]:
    """Id of the person of each row; None where the picture has nobody."""
    ids = {person.id for person in labels.people}
    in_picture: dict[int, list[int]] = {picture.id: [] for picture in labels.pictures}
    for person in labels.people:
        in_picture[person.picture_id].append(person.id)
    by_name = {picture.file_name: picture.id for picture in labels.pictures}
    owners: list[int | None] = []
    for number, row in enumerate(rows):
        picture_id = row.image_id if row.file_name is None else by_name.get(row.file_name)
        if picture_id not in in_picture:
            name = row.image_id if row.file_name is None else row.file_name
            raise AnnotationError(f"{path}: row {number} is of picture {name}, which is not among the labelled ones")
        people = in_picture[picture_id]
        if row.annotation_id is not None:
            if row.annotation_id not in ids:
                raise AnnotationError(f"{path}: row {number} is of person {row.annotation_id}, whom the labels lack")
            owners.append(row.annotation_id)
        elif len(people) > 1:
            raise AnnotationError(
                f"{path}: row {number} is of a picture with {len(people)} labelled people; it must say whose it is by"
                " annotation_id"
            )
        else:
            owners.append(people[0] if people else None)
    return owners


def _read_mat_keypoints(path: Path, labels: LabelledSet) -> PersonKeypoints:
    if labels.skeleton != MPII_16:
        raise AnnotationError(f"{path}: results in .mat are read for MPII's labels only; give a COCO results list")
    found = np.asarray(read_mat(path, "preds"), np.float64)
    shape = (len(labels.people), len(MPII_16.keypoints), 2)
    if found.size != np.prod(shape) or found.shape[-1] != 2 or not np.isfinite(found).all():
        raise AnnotationError(f"{path}: preds are {found.shape}, not {shape} finite numbers; is it of the same split?")
    points = found.reshape(shape) - 1  # the file counts pixels from 1
    return PersonKeypoints(MPII_16, {person.id: rows for person, rows in zip(labels.people, points, strict=True)})
