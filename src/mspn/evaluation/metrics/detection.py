"""How well a detector finds the people of a labeled set."""

import logging
from collections.abc import Mapping, Sequence
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

_RIGHT = 0.5
"""Overlap (IoU) from which on a box is of a person."""


class Found(NamedTuple):
    """Counts over a set."""

    matched_people: int
    """Labeled people whom some box covers."""
    people: int
    correct_boxes: int
    """Boxes that cover somebody."""
    boxes: int

    @property
    def recall(self) -> float:
        return self.matched_people / max(1, self.people)

    @property
    def precision(self) -> float:
        return self.correct_boxes / max(1, self.boxes)


def detect_people(
    detector: Detector, ground_truth: CocoPeople, images: Path, processes: Processes = ALONE
) -> dict[int, list[Detection]]:
    """Detections in every image of a set by image id; what cannot be read is logged and has none."""
    rows: list[tuple[int, list[Detection]]] = []
    for image in processes.share(ground_truth.images):
        path = images / image.file_name
        try:
            rows.append((image.id, detector.detect(Image(str(path), read_image(path)))))
        except ImageError as error:
            logger.warning("skipped: %s", error)
    return dict(processes.gather(rows))


def count_detections(
    ground_truth: CocoPeople,
    found: Mapping[int, Sequence[Detection]],
    *,
    threshold: float,
    lowest: float = 0.0,
    unlabeled: Mapping[int, Sequence[Box]] | None = None,
) -> Found:
    """Count who is found and which boxes are right, at an overlap of 0.5.

    A person is found by a box of their own; boxes choose in the order of their scores. A box is right if it overlaps
    anybody.

    Args:
        ground_truth: the labeled people; crowds need not be found.
        found: detections by image id.
        threshold: detections with a lower score do not count.
        lowest: people and boxes no higher than this many image pixels do not count.
        unlabeled: boxes of people without labels by image id: right for a detection, but nobody need find them.
    """
    people_by_image: dict[int, list[Box]] = {image.id: [] for image in ground_truth.images}
    for row in ground_truth.annotations:
        if not row.iscrowd:
            people_by_image[row.image_id].append(Box(*row.bbox))
    counts = np.zeros(4, int)
    for image_id, people in people_by_image.items():
        certain = [detection for detection in found.get(image_id, []) if detection.score >= threshold]
        boxes = [detection.box for detection in sorted(certain, key=lambda one: -one.score)]
        others = list((unlabeled or {}).get(image_id, []))
        shared = iou(to_xyxy(boxes)[:, None], to_xyxy([*people, *others]))
        is_found = _choose(shared[:, : len(people)])
        is_tall, is_tall_box = (np.array([box.height > lowest for box in some], bool) for some in (people, boxes))
        is_right = shared.max(1, initial=0) >= _RIGHT
        counts += [(is_found & is_tall).sum(), is_tall.sum(), (is_right & is_tall_box).sum(), is_tall_box.sum()]
    return Found(*counts.tolist())


def _choose(shared: Float[np.ndarray, "boxes people"]) -> Bool[np.ndarray, " people"]:
    """Who is chosen by a box, each of which takes the one it overlaps most of those who are left."""
    is_found = np.zeros(shared.shape[1], bool)
    for row in shared:
        left = np.where(is_found, 0, row)
        if left.max(initial=0) >= _RIGHT:
            is_found[left.argmax()] = True
    return is_found
