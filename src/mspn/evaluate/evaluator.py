"""Predicting the people of a labelled data set."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mspn.data.coco import AnnotationError, CocoFile, read_coco, read_coco_file
from mspn.detect.boxes_file import BoxesFile
from mspn.detect.protocol import Picture
from mspn.images import PictureError, read_picture
from mspn.predict.estimator import PoseEstimator, Subject
from mspn.predict.writers import coco_result
from mspn.records import Box, Detection
from mspn.skeleton import Skeleton

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictions:
    """Results of a whole data set."""

    rows: list[dict[str, Any]]
    """COCO results, by image and falling score."""
    num_boxes: int
    failed: int
    """Pictures and boxes that could not be used; each was logged."""


class BoxedPicture(NamedTuple):
    """A picture of a data set and the boxes to look into."""

    image_id: int
    path: Path
    detections: list[Detection]


def predict_people(
    estimator: PoseEstimator,
    annotations: Path,
    images: Path,
    boxes: Path | None,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Predictions:
    """Estimate the pose in every box of a data set.

    Args:
        estimator: network and test settings.
        annotations: COCO keypoint file; names the pictures and, without `boxes`, gives the boxes with score 1.
        images: folder of the pictures.
        boxes: file of detected boxes; all of them are used, whatever their score.
        report: told how many pictures are done, and of how many.

    Raises:
        AnnotationError: for a file that is missing or of no use.
        FileNotFoundError: if the folder of pictures is missing.
    """
    if not images.is_dir():
        raise FileNotFoundError(f"no folder of pictures at {images}; --images must name it")
    content = read_coco_file(annotations)
    if content.person is None:
        raise AnnotationError(f"{annotations} has no category with keypoints; it must be a COCO keypoint file")
    category = content.person.id
    if boxes is None:
        pictures = _true_boxes(annotations, images, estimator.recipe.keypoint_table)
    else:
        pictures = _boxes_of_file(content, images, BoxesFile(boxes))
        if not any(picture.detections for picture in pictures):
            raise AnnotationError(f"{boxes} has no box for any picture of {annotations}; do names or ids match?")
    rows: list[dict[str, Any]] = []
    failed = 0
    waiting: list[tuple[int, Subject]] = []

    def estimate_waiting() -> None:
        poses = estimator.estimate([subject for _, subject in waiting])
        rows.extend(coco_result(pose, image_id, category) for (image_id, _), pose in zip(waiting, poses, strict=True))
        waiting.clear()

    for done, (image_id, path, detections) in enumerate(pictures, start=1):
        subjects, problems = _cut_all(estimator, path, detections)
        waiting += [(image_id, subject) for subject in subjects]
        failed += len(problems)
        for problem in problems:
            logger.warning("%s", problem)
        if len(waiting) >= estimator.batch_size:
            estimate_waiting()
        report(done, len(pictures))
    estimate_waiting()
    rows.sort(key=lambda row: (row["image_id"], -row["score"]))
    return Predictions(rows, sum(len(picture.detections) for picture in pictures), failed)


def _cut_all(estimator: PoseEstimator, path: Path, detections: list[Detection]) -> tuple[list[Subject], list[str]]:
    """People cut out of a picture, and a line for each box (or the whole picture) that is of no use."""
    if not detections:
        return [], []
    try:
        picture = Picture(str(path), read_picture(path))
    except PictureError as error:
        return [], [str(error)]
    subjects, problems = [], []
    for detection in detections:
        try:
            subjects.append(estimator.cut(picture, detection))
        except ValueError as error:
            problems.append(f"{path}: {error}")
    return subjects, problems


def _true_boxes(annotations: Path, images: Path, skeleton: Skeleton) -> list[BoxedPicture]:
    """Everyone with a labelled keypoint, boxes as labelled."""
    people = read_coco(annotations, images, skeleton)
    pictures = []
    for index in np.unique(people.picture_index):
        inside = people.picture_index == index
        detections = [Detection(Box(*box), 1.0) for box in people.boxes[inside].tolist()]
        pictures.append(BoxedPicture(int(people.image_ids[inside][0]), people.pictures[index], detections))
    return pictures


def _boxes_of_file(content: CocoFile, images: Path, boxes: BoxesFile) -> list[BoxedPicture]:
    """All pictures of the data set, with the file's boxes."""
    return [
        BoxedPicture(image.id, images / image.file_name, boxes.find(image.file_name, image.id))
        for image in content.images
    ]
