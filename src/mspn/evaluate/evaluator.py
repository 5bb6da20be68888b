"""Predicting the people of a labelled data set."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mspn.data.coco import CocoImage, CocoPeople
from mspn.data.label_files import AnnotationError
from mspn.detect.boxes_file import BoxesFile
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import PictureResult, predict_pictures
from mspn.predict.writers.coco import coco_result
from mspn.processes import ALONE, Processes
from mspn.records import Box, Detection
from mspn.sources.open import open_source

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictions:
    """Results of a whole data set."""

    rows: list[dict[str, Any]]
    """COCO results, by image and falling score."""
    boxes: dict[int, list[Detection]]
    """The boxes of people by image id."""
    failed: int
    """Pictures and boxes that could not be used; each was logged."""

    @property
    def num_boxes(self) -> int:
        return sum(len(detections) for detections in self.boxes.values())


def predict_people(
    estimator: PoseEstimator,
    truth: CocoPeople,
    images: Path,
    boxes: BoxesFile | None,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    processes: Processes = ALONE,
) -> Predictions:
    """Estimate the pose in every box of a data set; several processes share the pictures, and each gets all results.

    The results are those of one process to the last digit: people share batches with the same others.

    Args:
        estimator: network and test settings; its detector is not asked.
        truth: names the pictures and, without `boxes`, gives the boxes with score 1: of everyone who is no crowd and
            has a labelled keypoint.
        images: folder of the pictures.
        boxes: detected boxes; all that its rule leaves are used, whatever their score.
        report: told how many pictures are done, and of how many, in this process.
        processes: who shares the pictures.

    Raises:
        AnnotationError: if the boxes are of other pictures, or not one picture could be used.
        FileNotFoundError: if the folder of pictures is missing.
    """
    if not images.is_dir():
        raise FileNotFoundError(f"no folder of pictures at {images}; --images must name it")
    found = _true_boxes(truth) if boxes is None else _boxes_of_file(truth, boxes)
    if not found:
        source = "the labels have" if boxes is None else f"{boxes.path} has"
        raise AnnotationError(f"{source} no box for any of the {len(truth.images)} pictures; do names or ids match?")
    pictures = [image for image in truth.images if image.id in found]
    share = processes.share(_groups(pictures, found, estimator.batch_size))
    total = sum(len(group) for group in share)
    rows: list[dict[str, Any]] = []
    done = failed = usable = 0
    for group in share:
        image_ids = {str(images / image.file_name): image.id for image in group}
        for result in _predict_group(estimator, image_ids, found):
            for problem in result.problems:
                logger.warning("skipped: %s", problem)
            failed += len(result.problems)
            usable += bool(result.poses)
            image_id = image_ids[result.source]
            rows += [coco_result(pose, image_id, truth.category_id) for pose in result.poses]
            done += 1
            report(done, total)
    rows = processes.gather(rows)
    failed, usable = (sum(processes.gather([count])) for count in (failed, usable))
    if not usable:
        raise AnnotationError(f"not one of {len(found)} pictures in {images} could be used; is it the right folder?")
    rows.sort(key=lambda row: (row["image_id"], -row["score"]))
    return Predictions(rows, found, failed)


def _groups(
    pictures: Sequence[CocoImage], found: Mapping[int, Sequence[Detection]], batch_size: int
) -> list[list[CocoImage]]:
    """The pictures in order, in groups of at least as many people as fit a batch."""
    groups: list[list[CocoImage]] = []
    people = batch_size
    for image in pictures:
        if people >= batch_size:
            groups.append([])
            people = 0
        groups[-1].append(image)
        people += len(found[image.id])
    return groups


def _predict_group(
    estimator: PoseEstimator, image_ids: Mapping[str, int], found: Mapping[int, list[Detection]]
) -> Iterator[PictureResult]:
    pictures = chain.from_iterable(open_source(Path(path)) for path in image_ids)
    return predict_pictures(
        estimator, pictures, find=lambda picture: found[image_ids[picture.source]], keep_pixels=False
    )


def _true_boxes(truth: CocoPeople) -> dict[int, list[Detection]]:
    """Labelled boxes by image id."""
    found: dict[int, list[Detection]] = {}
    for row, keypoints in zip(truth.annotations, truth.keypoints_image, strict=True):
        if not row.iscrowd and (keypoints[:, 2] > 0).any():
            found.setdefault(row.image_id, []).append(Detection(Box(*row.bbox), 1.0))
    return found


def _boxes_of_file(truth: CocoPeople, boxes: BoxesFile) -> dict[int, list[Detection]]:
    """The file's boxes by image id; pictures without any are left out."""
    found = {image.id: boxes.find(image.file_name, image.id) for image in truth.images}
    return {image_id: detections for image_id, detections in found.items() if detections}
