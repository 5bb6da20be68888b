"""How well a detector finds the people of a labelled set."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mspn.box_overlap import overlap
from mspn.data.coco import CocoPeople
from mspn.detect.protocol import Detector
from mspn.images import PictureError, read_picture
from mspn.picture import Picture
from mspn.processes import ALONE, Processes
from mspn.records import Box, Detection

logger = logging.getLogger(__name__)

_RIGHT = 0.5
"""Overlap (IoU) from which on a box is of a person."""


class Found(NamedTuple):
    """Counts over a set; each is a share when divided by the one after it."""

    found_people: int
    """Labelled people whom some box covers."""
    people: int
    right_boxes: int
    """Boxes that cover somebody."""
    boxes: int

    @property
    def recall(self) -> float:
        return self.found_people / self.people

    @property
    def precision(self) -> float:
        return self.right_boxes / self.boxes


def find_everyone(
    detector: Detector, truth: CocoPeople, images: Path, processes: Processes = ALONE
) -> dict[int, list[Detection]]:
    """Detections in every picture of a set by image id; what cannot be read is logged and has none."""
    rows: list[tuple[int, list[Detection]]] = []
    for image in processes.share(truth.images):
        path = images / image.file_name
        try:
            rows.append((image.id, detector.detect(Picture(str(path), read_picture(path)))))
        except PictureError as error:
            logger.warning("skipped: %s", error)
    return dict(processes.gather(rows))


def count_found(
    truth: CocoPeople,
    found: Mapping[int, Sequence[Detection]],
    *,
    threshold: float,
    lowest: float = 0.0,
    unlabelled: Mapping[int, Sequence[Box]] | None = None,
) -> Found:
    """Count who is found and which boxes are right, at an overlap of 0.5.

    Args:
        truth: the labelled people.
        found: detections by image id.
        threshold: detections with a lower score do not count.
        lowest: people whose box is no higher than this many image pixels need not be found.
        unlabelled: boxes of people without labels by image id: right for a detection, but nobody need find them.
    """
    counts = np.zeros(4, int)
    for image in truth.images:
        labelled = [Box(*row.bbox) for row in truth.annotations if row.image_id == image.id]
        boxes = [detection.box for detection in found.get(image.id, []) if detection.score >= threshold]
        tall = [box for box in labelled if box.height > lowest]
        others = list((unlabelled or {}).get(image.id, []))
        counts += (
            *(_num_covered(tall, boxes), len(tall)),
            *(_num_covered(boxes, [*labelled, *others]), len(boxes)),
        )
    return Found(*counts.tolist())


def _num_covered(boxes: Sequence[Box], by: Sequence[Box]) -> int:
    """Boxes that one of the others overlaps enough."""
    if not boxes or not by:
        return 0
    shared = overlap(_corners(boxes)[:, None], _corners(by)[None]).shared
    return int((shared.amax(1) >= _RIGHT).sum())


def _corners(boxes: Sequence[Box]) -> torch.Tensor:
    table = torch.tensor(boxes, dtype=torch.float64)
    table[:, 2:] += table[:, :2]
    return table
