"""How well and how fast detectors find people: average precision, recall, precision and milliseconds.

A box of at least the threshold is right where it overlaps a labelled person by half or more, or else a box that a
public detector proposes with a score of 0.3 or more (people_boxes.json beside the labels), since labels leave people
out. A person is found by a box of one's own. Recall and precision are of people and boxes more than 96 pixels high.
Detectors take turns picture by picture, so that other work on the machine disturbs all alike.
Run: OMP_NUM_THREADS=1 python -m benchmarks.detectors PHOTOS none yolox_tiny.onnx transformers:NAME
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from jaxtyping import Float
from pycocotools import mask

from mspn.data.label_files import read_json
from mspn.detect.boxes_file import BoxesFile
from mspn.detect.by_name import make_detector
from mspn.detect.protocol import Detector
from mspn.evaluate.average_precision import read_truth
from mspn.evaluate.engines import compute_stats
from mspn.images import read_picture
from mspn.picture import Picture
from mspn.records import Box, Detection
from mspn.skeleton import COCO_17

LEAST_HEIGHT = 96
THRESHOLD = 0.3
OVERLAP = 0.5


@dataclass
class Tally:
    """What one detector found."""

    detector: Detector
    found: dict[int, list[Detection]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    num_people_found: int = 0
    num_boxes: int = 0
    num_right: int = 0


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    photos, names = Path(sys.argv[1]), sys.argv[2:]
    annotations = photos / "annotations.json"
    truth = read_truth(annotations, COCO_17)
    proposed = BoxesFile(photos / "people_boxes.json")
    tallies = {name: Tally(make_detector(name)) for name in names}
    num_people = 0
    for image in truth.images:
        picture = Picture(image.file_name, read_picture(photos / "images" / image.file_name))
        people = [Box(*row.bbox) for row in truth.annotations if row.image_id == image.id and not row.iscrowd]
        sure = [one.box for one in proposed.find(image.file_name, image.id) if one.score >= THRESHOLD]
        num_people += sum(person.height > LEAST_HEIGHT for person in people)
        for tally in tallies.values():
            start = time.thread_time()
            tally.found[image.id] = tally.detector.detect(picture)
            tally.seconds.append(time.thread_time() - start)
            _count(tally, tally.found[image.id], people, sure)
    for name, tally in tallies.items():
        precision = tally.num_right / max(1, tally.num_boxes)
        whole, half = _average_precision(annotations, tally.found)
        print(
            f"{name}: AP {whole:.3f}, AP50 {half:.3f}; above {LEAST_HEIGHT} pixels and {THRESHOLD}"
            f" recall {tally.num_people_found / num_people:.3f}, precision {precision:.3f}"
            f" ({num_people} people, {tally.num_boxes} boxes);"
            f" {1000 * median(tally.seconds):.0f} ms a picture (median of {len(tally.seconds)})"
        )


def _count(tally: Tally, found: Sequence[Detection], people: Sequence[Box], sure: Sequence[Box]) -> None:
    boxes = [one.box for one in sorted(found, key=lambda one: -one.score) if one.score >= THRESHOLD]
    overlaps = _overlaps(boxes, people)
    waiting = np.ones(len(people), bool)
    for row in overlaps:
        if waiting.any() and (row * waiting).max() >= OVERLAP:
            place = int((row * waiting).argmax())
            waiting[place] = False
            tally.num_people_found += people[place].height > LEAST_HEIGHT
    is_right = np.concatenate([overlaps, _overlaps(boxes, sure)], axis=1).max(1, initial=0) >= OVERLAP
    is_high = np.array([box.height > LEAST_HEIGHT for box in boxes], bool)
    tally.num_boxes += int(is_high.sum())
    tally.num_right += int((is_high & is_right).sum())


def _overlaps(boxes: Sequence[Box], others: Sequence[Box]) -> Float[np.ndarray, "N M"]:
    if not boxes or not others:
        return np.zeros((len(boxes), len(others)))
    shares: np.ndarray = mask.iou(np.array(boxes), np.array(others), [0] * len(others))
    return shares


def _average_precision(annotations: Path, found: dict[int, list[Detection]]) -> tuple[float, float]:
    """Over overlaps from 0.5 to 0.95, and at 0.5."""
    rows = [
        {"image_id": image_id, "category_id": 1, "bbox": [*one.box], "score": one.score}
        for image_id, detections in found.items()
        for one in detections
    ]
    whole, half, *_others = compute_stats("pycocotools", read_json(annotations), rows, "bbox")
    return whole, half


if __name__ == "__main__":
    main()
