"""Recall and precision of a person detector at one score threshold."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mspn.detectors.base import Detector
from mspn.distributed import ALONE, Processes
from mspn.errors import ImageError
from mspn.io.images import read_image
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.boxes import Box, Detection, iou, to_xyxy
from mspn.structures.image import Image

logger = logging.getLogger(__name__)

_MIN_IOU_MATCH = 0.5


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
    people_by_image: dict[int, list[Box]] = {image.id: [] for image in ground_truth.images}
    for row in ground_truth.annotations:
        if not row.iscrowd:
            people_by_image[row.image_id].append(Box(*row.bbox))
    counts = np.zeros(4, int)
    for image_id, people in people_by_image.items():
        kept = [detection for detection in detections.get(image_id, []) if detection.score >= threshold]
        boxes = [detection.box for detection in sorted(kept, key=lambda detection: -detection.score)]
        unlabeled_boxes = list((unlabeled or {}).get(image_id, []))
        ious = iou(to_xyxy(boxes)[:, None], to_xyxy([*people, *unlabeled_boxes]))
        is_matched = _match(ious[:, : len(people)])
        is_tall, is_tall_box = (
            np.array([box.height > min_height_px for box in group], bool) for group in (people, boxes)
        )
        is_correct = ious.max(1, initial=0) >= _MIN_IOU_MATCH
        counts += [(is_matched & is_tall).sum(), is_tall.sum(), (is_correct & is_tall_box).sum(), is_tall_box.sum()]
    return DetectionCounts(*counts.tolist())


def _match(ious: Float[np.ndarray, "boxes people"]) -> Bool[np.ndarray, " people"]:
    """People who match a box; each box, best score first, takes the unmatched person of the highest IoU."""
    is_matched = np.zeros(ious.shape[1], bool)
    for row in ious:
        free = np.where(is_matched, 0, row)
        if free.max(initial=0) >= _MIN_IOU_MATCH:
            is_matched[free.argmax()] = True
    return is_matched
