"""Recall and precision of a person detector at one score threshold."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mspn.detectors.base import Detector
from mspn.distributed import ALONE, Processes
from mspn.errors import ImageError
from mspn.io.images import read_image
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.boxes import Box, Detection, iou, to_xyxy
from mspn.structures.image import Image
from mspn.structures.shapes import Bool, Float

logger = logging.getLogger(__name__)

_MIN_IOU_MATCH = 0.5
_MIN_IOU_CROWDED = 0.3


class DetectionCounts(NamedTuple):
    """Counts over a set."""

    matched_people: int
    """Labeled people with a matching box."""
    people: int
    correct_boxes: int
    """Boxes that overlap a person by an IoU of 0.5."""
    boxes: int

    @property
    def recall(self) -> float:
        return self.matched_people / max(1, self.people)

    @property
    def precision(self) -> float:
        return self.correct_boxes / max(1, self.boxes)


class CrowdCounts(NamedTuple):
    """Counts over a set of what suppression decides: neighbors who are missed, people who are found twice."""

    matched_people: int
    """Of the crowded, those with a matching box."""
    people: int
    """Crowded people: their box overlaps another person's by an IoU of 0.3."""
    duplicates: int
    """Boxes that overlap people by an IoU of 0.5, each of whom has a better box of their own."""


def detect_people(
    detector: Detector,
    ground_truth: CocoPeople,
    images: Path,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    processes: Processes = ALONE,
) -> dict[int, list[Detection]]:
    """Detections in every image of a set by image id; an image that cannot be read is logged and left out.

    `report` is called with how many images are done, and of how many, in this process.
    """
    rows: list[tuple[int, list[Detection]]] = []
    share = processes.share(ground_truth.images)
    for done, image in enumerate(share, start=1):
        path = images / image.file_name
        try:
            rows.append((image.id, detector.detect(Image(str(path), read_image(path)))))
        except ImageError as error:
            logger.warning("skipped: %s", error)
        report(done, len(share))
    return dict(processes.gather(rows))


def count_detections(
    ground_truth: CocoPeople,
    detections: Mapping[int, Sequence[Detection]],
    *,
    threshold: float,
    min_height_px: float = 0.0,
    unlabeled: Mapping[int, Sequence[Box]] | None = None,
) -> DetectionCounts:
    """Count matched people and correct boxes, at an IoU of 0.5.

    Each box matches at most one person, boxes of a higher score first. A box is correct if it overlaps any person.

    Args:
        ground_truth: the labeled people; crowds do not count.
        detections: by image id.
        threshold: detections with a lower score do not count.
        min_height_px: only people and boxes higher than this many image pixels count.
        unlabeled: boxes of people without labels by image id: a box on them is correct, and they need no match.
    """
    counts = np.zeros(4, int)
    for image_id, people in _people_by_image(ground_truth).items():
        boxes = _boxes_best_first(detections.get(image_id, []), threshold)
        unlabeled_boxes = list((unlabeled or {}).get(image_id, []))
        ious = iou(to_xyxy(boxes)[:, None], to_xyxy([*people, *unlabeled_boxes]))
        is_matched = _match(ious[:, : len(people)])
        is_tall, is_tall_box = (
            np.array([box.height > min_height_px for box in group], bool) for group in (people, boxes)
        )
        is_correct = ious.max(1, initial=0) >= _MIN_IOU_MATCH
        counts += [(is_matched & is_tall).sum(), is_tall.sum(), (is_correct & is_tall_box).sum(), is_tall_box.sum()]
    return DetectionCounts(*counts.tolist())


def count_crowds(
    ground_truth: CocoPeople, detections: Mapping[int, Sequence[Detection]], *, threshold: float
) -> CrowdCounts:
    """Count found people among those who overlap others, and boxes of people who are found already.

    Arguments and matching as those of `count_detections`.
    """
    counts = np.zeros(3, int)
    for image_id, people in _people_by_image(ground_truth).items():
        corners = to_xyxy(people)
        overlaps = iou(corners[:, None], corners) - np.eye(len(people))
        is_crowded = overlaps.max(1, initial=0) >= _MIN_IOU_CROWDED
        ious = iou(to_xyxy(_boxes_best_first(detections.get(image_id, []), threshold))[:, None], corners)
        is_matched = _match(ious)
        num_on_people = (ious.max(1, initial=0) >= _MIN_IOU_MATCH).sum()
        counts += [(is_matched & is_crowded).sum(), is_crowded.sum(), num_on_people - is_matched.sum()]
    return CrowdCounts(*counts.tolist())


def _people_by_image(ground_truth: CocoPeople) -> dict[int, list[Box]]:
    """Boxes of the labeled people of each image, without crowds."""
    people: dict[int, list[Box]] = {image.id: [] for image in ground_truth.images}
    for row in ground_truth.annotations:
        if not row.iscrowd:
            people[row.image_id].append(Box(*row.bbox))
    return people


def _boxes_best_first(detections: Sequence[Detection], threshold: float) -> list[Box]:
    kept = [detection for detection in detections if detection.score >= threshold]
    return [detection.box for detection in sorted(kept, key=lambda detection: -detection.score)]


def _match(ious: Float[np.ndarray, "boxes people"]) -> Bool[np.ndarray, " people"]:
    """People who match a box; each box, best score first, takes the unmatched person of the highest IoU."""
    is_matched = np.zeros(ious.shape[1], bool)
    for row in ious:
        free = np.where(is_matched, 0, row)
        if free.max(initial=0) >= _MIN_IOU_MATCH:
            is_matched[free.argmax()] = True
    return is_matched
