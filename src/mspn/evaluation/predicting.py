"""Keypoints that a network predicts for the people of a labeled set."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import ALONE, Processes
from mspn.errors import AnnotationError, MissingFileError
from mspn.labels.formats.coco import CocoPeople
from mspn.labels.label_set import LabeledPerson, LabeledSet, box_around
from mspn.labels.units import suspect_units, warn_of_units
from mspn.outputs.annotations import coco_result
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import predict_images
from mspn.predict.top_down import select_poses
from mspn.sources import open_source
from mspn.structures.boxes import Box, Detection
from mspn.structures.pose import Pose
from mspn.structures.shapes import Float
from mspn.structures.skeleton import Skeleton

logger = logging.getLogger(__name__)

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Predictions:
    """Predictions for a whole data set."""

    rows: list[dict[str, Any]]
    """COCO results, by image and falling score."""
    boxes: dict[int, list[Detection]]
    """The boxes that poses were estimated in, by image id."""
    failed: int
    """Images and boxes that could not be used; each is logged."""

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
    """Estimate the pose in every box of a data set; processes share the images, and each gets all results.

    The results equal those of a single process to the last digit, since batches hold the same people.

    Args:
        estimator: network and test settings; its detector is not used.
        ground_truth: names the images; without `boxes`, its boxes are used with score 1, except those of crowds and of
            people without a labeled keypoint.
        images: folder of the images.
        boxes: detected boxes; all that its selection rule keeps are used, whatever their score.
        report: called with how many images are done, and of how many, in this process.
        processes: processes that share the images.

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
        report: called with how many images are done, and of how many, in this process.
        processes: processes that share the images; each gets all rows.

    Raises:
        AnnotationError: if not one image could be used.
        FileNotFoundError: if the folder is missing.
    """
    if not folder.is_dir():
        raise MissingFileError(f"no folder of images at {folder}; --images must name it")
    share = _share_boxes(file_names, detections, estimator.top_down.batch_size, processes)
    ids: dict[str, int] = {}
    for image_id in share:
        path = str(folder / file_names[image_id])
        ids[f"{path} (image {image_id})" if path in ids else path] = image_id  # two entries may name one file
    results = predict_images(
        estimator.top_down,
        (
            replace(item, source=name)
            for name, image_id in ids.items()
            for item in islice(open_source(folder / file_names[image_id]), 1)  # of several pages the first is labeled
        ),
        detect=lambda image: share[ids[image.source]],
        select=list,  # later, since another process may have people of the same image
        keep_pixels=False,
    )
    parts: list[tuple[int, list[Pose], list[str]]] = []
    for result in results:
        for problem in result.problems:
            logger.warning("skipped: %s", problem)
        parts.append((ids[result.source], result.poses, result.problems))
        report(len(parts), len(share))
    poses: dict[int, list[Pose]] = {}
    problems: dict[int, list[str]] = {}
    for image_id, part, part_problems in processes.gather(parts):
        poses.setdefault(image_id, []).extend(part)
        # Of an image that cannot be read, each process that has people of it says the same.
        is_repeated = not part and problems.get(image_id) == part_problems
        problems.setdefault(image_id, []).extend([] if is_repeated else part_problems)
    if not any(poses.values()):
        raise AnnotationError(f"not one of {len(file_names)} images in {folder} could be used; is it the right folder?")
    # By the protocol alone: unlike a prediction, the paper's AP leaves out nobody.
    select = partial(select_poses, suppression_oks=estimator.test.suppression_oks)
    rows = [row for image_id, found in poses.items() for row in to_rows(image_id, select(found))]
    return rows, sum(map(len, problems.values()))


def _share_boxes(
    image_ids: Iterable[int], detections: Mapping[int, Sequence[Detection]], batch_size: int, processes: Processes
) -> dict[int, list[Detection]]:
    """This process's boxes by image id: whole batches of all boxes in order.

    So batches hold the same people for any number of processes, and only the very last one is not full. An image whose
    people are in batches of two processes is read by both.
    """
    boxes = [(image_id, detection) for image_id in image_ids for detection in detections[image_id]]
    num_batches = -(-len(boxes) // batch_size)
    first, end = (num_batches * rank // processes.count * batch_size for rank in (processes.rank, processes.rank + 1))
    share: dict[int, list[Detection]] = {}
    for image_id, detection in boxes[first:end]:
        share.setdefault(image_id, []).append(detection)
    return share


def _labeled_boxes(ground_truth: CocoPeople) -> dict[int, list[Detection]]:
    """Labeled boxes by image id."""
    detections: dict[int, list[Detection]] = {}
    for row, keypoints in zip(ground_truth.annotations, ground_truth.keypoints_image, strict=True):
        if not row.iscrowd and (keypoints[:, 2] > 0).any():
            detections.setdefault(row.image_id, []).append(Detection(Box(*row.bbox), 1.0))
    return detections


def _boxes_of_file(ground_truth: CocoPeople, boxes: BoxesFile) -> dict[int, list[Detection]]:
    """The file's boxes by image id; images without any are left out."""
    by_image = {image.id: boxes.find(image.file_name, image.id) for image in ground_truth.images}
    found = [(detection.box, image) for image in ground_truth.images for detection in by_image[image.id]]
    warn_of_units(
        boxes.path,
        suspect_units(
            boxes=np.array([box for box, _ in found]).reshape(-1, 4),
            sizes=np.array([(image.width or np.nan, image.height or np.nan) for _, image in found]).reshape(-1, 2),
        ),
    )
    return {image_id: detections for image_id, detections in by_image.items() if detections}


@dataclass(frozen=True, eq=False)
class PersonKeypoints:
    """Predicted keypoints of the people of a labeled set."""

    skeleton: Skeleton
    keypoints_image: dict[int, Float[np.ndarray, "K 2"]]
    """By the person's id; people without a prediction are left out."""
    failed: int = 0
    """Images and boxes that could not be used; each is logged."""


def predict_labeled(
    estimator: PoseEstimator,
    labels: LabeledSet,
    images: Path,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    processes: Processes = ALONE,
) -> tuple[PersonKeypoints, list[dict[str, Any]]]:
    """Estimate the pose in each person's labeled box, or in the box around the keypoints where there is none.

    Args:
        estimator: network and test settings; its detector is not used.
        labels: the people.
        images: folder of the images.
        report: called with how many images are done, and of how many, in this process.
        processes: processes that share the images; each gets all results.

    Returns:
        The predictions, and the same as a COCO results list whose rows have the person's `annotation_id`.

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
        posed = [(person.id, by_box.get(boxes[person.id] or Box(0, 0, 0, 0))) for person in people[image_id]]
        return [
            (person_id, pose.keypoints_image, coco_result(pose, image_id) | {"annotation_id": person_id})
            for person_id, pose in posed
            if pose is not None
        ]

    file_names = {image.id: image.file_name for image in labels.images if image.id in people}
    rows, failed = _predict_boxes(estimator, images, file_names, detections, to_rows, report, processes)
    rows.sort(key=lambda row: row[0])
    keypoints = {person_id: keypoints_image for person_id, keypoints_image, _ in rows}
    return PersonKeypoints(estimator.recipe.keypoint_table, keypoints, failed), [row for *_, row in rows]
