"""Keypoints that a network predicts for the people of a labeled set."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, FiniteFloat

from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import ALONE, Processes
from mspn.errors import AnnotationError, MissingFileError
from mspn.labels.formats.coco import CocoPeople
from mspn.labels.formats.matlab import read_mat
from mspn.labels.label_set import LabeledPerson, LabeledSet, box_around
from mspn.labels.reading import check_form, read_json
from mspn.outputs.coco import coco_result
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import predict_images
from mspn.sources import open_source
from mspn.structures.boxes import Box, Detection
from mspn.structures.pose import Pose
from mspn.structures.skeleton import Skeleton
from mspn.structures.skeletons import COCO_17, MPII_16

logger = logging.getLogger(__name__)

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Predictions:
    """Results of a whole data set."""

    rows: list[dict[str, Any]]
    """COCO results, by image and falling score."""
    boxes: dict[int, list[Detection]]
    """The boxes of people by image id."""
    failed: int
    """Images and boxes that could not be used; each was logged."""

    @property
    def num_boxes(self) -> int:
        return sum(len(detections) for detections in self.boxes.values())


def predict_people(
    estimator: PoseEstimator,
    ground_truth: CocoPeople,
    images: Path,
    boxes: BoxesFile | None,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    processes: Processes = ALONE,
) -> Predictions:
    """Estimate the pose in every box of a data set; several processes share the images, and each gets all results.

    The results are those of one process to the last digit: people share batches with the same others.

    Args:
        estimator: network and test settings; its detector is not asked.
        ground_truth: names the images; without `boxes`, its boxes are used with score 1, except those of crowds and of
            people without a labeled keypoint.
        images: folder of the images.
        boxes: detected boxes; all that its rule leaves are used, whatever their score.
        report: told how many images are done, and of how many, in this process.
        processes: who shares the images.

    Raises:
        AnnotationError: if the boxes are of other images, or not one image could be used.
        FileNotFoundError: if the folder of images is missing.
    """
    detections = _labeled_boxes(ground_truth) if boxes is None else _boxes_of_file(ground_truth, boxes)
    if not detections:
        source = "the labels have" if boxes is None else f"{boxes.path} has"
        raise AnnotationError(
            f"{source} no box for any of the {len(ground_truth.images)} images; do names or ids match?"
        )
    file_names = {image.id: image.file_name for image in ground_truth.images if image.id in detections}

    def to_rows(image_id: int, poses: Sequence[Pose]) -> list[dict[str, Any]]:
        return [coco_result(pose, image_id, ground_truth.category_id) for pose in poses]

    rows, failed = _predict_boxes(estimator, images, file_names, detections, to_rows, report, processes)
    rows.sort(key=lambda row: (row["image_id"], -row["score"]))
    return Predictions(rows, detections, failed)


def _predict_boxes(
    estimator: PoseEstimator,
    folder: Path,
    file_names: Mapping[int, str],
    detections: Mapping[int, list[Detection]],
    to_rows: Callable[[int, Sequence[Pose]], list[_Row]],
    report: Callable[[int, int], None],
    processes: Processes,
) -> tuple[list[_Row], int]:
    """Rows for the poses of given boxes, and how many images and boxes could not be used (each is logged).

    Args:
        estimator: network and protocol.
        folder: of the images.
        file_names: by image id.
        detections: by image id.
        to_rows: makes rows of an image's id and poses.
        report: told how many images are done, and of how many, in this process.
        processes: share the images; each gets all rows.

    Raises:
        AnnotationError: if not one image could be used.
        FileNotFoundError: if the folder is missing.
    """
    if not folder.is_dir():
        raise MissingFileError(f"no folder of images at {folder}; --images must name it")
    share = processes.share(_group_images(file_names, detections, estimator.top_down.batch_size))
    total = sum(len(group) for group in share)
    rows: list[_Row] = []
    done = failed = usable = 0
    for group in share:
        ids = {str(folder / file_names[image_id]): image_id for image_id in group}
        results = predict_images(
            estimator.top_down,
            chain.from_iterable(open_source(Path(path)) for path in ids),
            detect=lambda image, ids=ids: detections[ids[image.source]],  # type: ignore[misc]
            keep_pixels=False,
        )
        for result in results:
            for problem in result.problems:
                logger.warning("skipped: %s", problem)
            failed += len(result.problems)
            usable += bool(result.poses)
            rows += to_rows(ids[result.source], result.poses)
            done += 1
            report(done, total)
    rows = processes.gather(rows)
    failed, usable = (sum(processes.gather([count])) for count in (failed, usable))
    if not usable:
        raise AnnotationError(f"not one of {len(file_names)} images in {folder} could be used; is it the right folder?")
    return rows, failed


def _group_images(
    image_ids: Iterable[int], detections: Mapping[int, Sequence[Detection]], batch_size: int
) -> list[list[int]]:
    """The images in order, in groups of at least as many people as fit a batch.

    Processes share whole groups, so that people share batches with the same others however many processes there are.
    """
    groups: list[list[int]] = []
    people = batch_size
    for image_id in image_ids:
        if people >= batch_size:
            groups.append([])
            people = 0
        groups[-1].append(image_id)
        people += len(detections[image_id])
    return groups


def _labeled_boxes(ground_truth: CocoPeople) -> dict[int, list[Detection]]:
    """Labeled boxes by image id."""
    found: dict[int, list[Detection]] = {}
    for row, keypoints in zip(ground_truth.annotations, ground_truth.keypoints_image, strict=True):
        if not row.iscrowd and (keypoints[:, 2] > 0).any():
            found.setdefault(row.image_id, []).append(Detection(Box(*row.bbox), 1.0))
    return found


def _boxes_of_file(ground_truth: CocoPeople, boxes: BoxesFile) -> dict[int, list[Detection]]:
    """The file's boxes by image id; images without any are left out."""
    found = {image.id: boxes.find(image.file_name, image.id) for image in ground_truth.images}
    return {image_id: detections for image_id, detections in found.items() if detections}


@dataclass(frozen=True, eq=False)
class PersonKeypoints:
    """What was found for the people of a labeled set."""

    skeleton: Skeleton
    keypoints_image: dict[int, Float[np.ndarray, "K 2"]]
    """By the person's id; people for whom nothing was found are left out."""
    failed: int = 0
    """Images and boxes that could not be used; each was logged."""


class _ResultRow(BaseModel):
    """A row of a COCO results list that says whom it is of."""

    image_id: int
    keypoints: list[FiniteFloat]
    """K times x, y in image pixels, and a score that is not used."""
    annotation_id: int | None = None
    """The person's id; may be missing where an image has one person."""
    file_name: str | None = None
    """Of the image; says it instead of `image_id`, which formats other than COCO do not have."""


def predict_labeled(
    estimator: PoseEstimator,
    labels: LabeledSet,
    images: Path,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    processes: Processes = ALONE,
) -> tuple[PersonKeypoints, list[dict[str, Any]]]:
    """Estimate the pose in everyone's labeled box, or in the one around their keypoints where they have none.

    Args:
        estimator: network and test settings; its detector is not asked.
        labels: the people.
        images: folder of the images.
        report: told how many images are done, and of how many, in this process.
        processes: who shares the images; each gets all results.

    Returns:
        What was found, also as a COCO results list with everyone's `annotation_id`.

    Raises:
        AnnotationError: if not one image could be used.
        FileNotFoundError: if the folder of images is missing.
    """
    boxes = {person.id: person.box or box_around(person.keypoints_image) for person in labels.people}
    people: dict[int, list[LabeledPerson]] = {}
    for person in labels.people:
        people.setdefault(person.image_id, []).append(person)
    detections = {
        image_id: [Detection(box, 1.0) for person in labeled if (box := boxes[person.id])]
        for image_id, labeled in people.items()
    }

    def to_rows(image_id: int, poses: Sequence[Pose]) -> list[tuple[int, np.ndarray, dict[str, Any]]]:
        # Two people with the same box get the same crop, and so the same pose.
        by_box = {pose.box: pose for pose in poses}
        found = [(person.id, by_box.get(boxes[person.id] or Box(0, 0, 0, 0))) for person in people[image_id]]
        return [
            (person_id, pose.keypoints_image, coco_result(pose, image_id) | {"annotation_id": person_id})
            for person_id, pose in found
            if pose is not None
        ]

    file_names = {image.id: image.file_name for image in labels.images if image.id in people}
    rows, failed = _predict_boxes(estimator, images, file_names, detections, to_rows, report, processes)
    rows.sort(key=lambda row: row[0])
    keypoints = {person_id: keypoints_image for person_id, keypoints_image, _ in rows}
    return PersonKeypoints(estimator.recipe.keypoint_table, keypoints, failed), [row for *_, row in rows]


def read_person_keypoints(path: Path, labels: LabeledSet) -> PersonKeypoints:
    """Read the results of any system.

    Args:
        path: a COCO results list, each row with the `annotation_id` of its person unless the image has just one,
            and with the keypoints of the labels or COCO's 17. Or, for MPII, a .mat as HRNet writes it: `preds`,
            N x 16 x 2, counted from 1, in the order of the labels.
        labels: the people.

    Raises:
        AnnotationError: if the file is of another form, or it is not clear whom a result is of.
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
    """Id of the person of each row; None where the image has nobody."""
    ids = {person.id for person in labels.people}
    in_image: dict[int, list[int]] = {image.id: [] for image in labels.images}
    for person in labels.people:
        in_image[person.image_id].append(person.id)
    by_name = {image.file_name: image.id for image in labels.images}
    owners: list[int | None] = []
    for number, row in enumerate(rows):
        image_id = row.image_id if row.file_name is None else by_name.get(row.file_name)
        if image_id not in in_image:
            name = row.image_id if row.file_name is None else row.file_name
            raise AnnotationError(f"{path}: row {number} is of image {name}, which is not among the labeled ones")
        people = in_image[image_id]
        if row.annotation_id is not None:
            if row.annotation_id not in ids:
                raise AnnotationError(f"{path}: row {number} is of person {row.annotation_id}, whom the labels lack")
            owners.append(row.annotation_id)
        elif len(people) > 1:
            raise AnnotationError(
                f"{path}: row {number} is of an image with {len(people)} labeled people; it must say whose it is by"
                " annotation_id"
            )
        else:
            owners.append(people[0] if people else None)
    return owners


def _read_mat_keypoints(path: Path, labels: LabeledSet) -> PersonKeypoints:
    if labels.skeleton != MPII_16:
        raise AnnotationError(f"{path}: results in .mat are read for MPII's labels only; give a COCO results list")
    found = np.asarray(read_mat(path, "preds"), np.float64)
    shape = (len(labels.people), len(MPII_16.keypoints), 2)
    if found.size != np.prod(shape) or found.shape[-1] != 2 or not np.isfinite(found).all():
        raise AnnotationError(f"{path}: preds are {found.shape}, not {shape} finite numbers; is it of the same split?")
    points = found.reshape(shape) - 1  # the file counts pixels from 1
    return PersonKeypoints(MPII_16, {person.id: rows for person, rows in zip(labels.people, points, strict=True)})
