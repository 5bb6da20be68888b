"""What the boxes that our detector suppresses tell: python -m benchmarks.votes PHOTOS [THRESHOLD]

Rows: nothing; boxes are moved alone; as it is; support without a limit, and by other powers; and, as a control, scores
multiplied by the tenth root of the box's size in place of votes, since larger boxes have more of them. Recall and
precision are those of `benchmarks.detectors`, of people above 96 pixels and of all, from a score of THRESHOLD (0.3) on.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.detectors import MIN_HEIGHT, THRESHOLD, sure_proposals
from mspn.detectors import base, make_detector
from mspn.evaluation.average_precision import box_average_precision, read_ground_truth
from mspn.evaluation.detection_counts import count_detections
from mspn.io.images import read_image
from mspn.structures.boxes import Detection, Votes
from mspn.structures.image import Image
from mspn.structures.skeleton import COCO_17


def no_votes(boxes: np.ndarray, _scores: np.ndarray, kept: np.ndarray, _iou_threshold: float) -> Votes:
    return Votes(boxes[kept], np.full(len(kept), base.USUAL_SUPPORT))


def by_size(person: Detection, image: Image) -> Detection:
    share = person.box.width * person.box.height / (image.size.width * image.size.height)
    return replace(person, score=person.score * share**0.05)


def as_it_is(person: Detection, _image: Image) -> Detection:
    return person


VARIANTS: dict[str, tuple[dict[str, Any], Callable[[Detection, Image], Detection]]] = {
    "no votes": ({"count_votes": no_votes}, as_it_is),
    "boxes alone": ({"SUPPORT_POWER": 0.0}, as_it_is),
    "as it is": ({"MAX_SUPPORT": base.MAX_SUPPORT}, as_it_is),
    "no limit": ({"MAX_SUPPORT": np.inf}, as_it_is),
    "no limit, power 0.2": ({"MAX_SUPPORT": np.inf, "SUPPORT_POWER": 0.2}, as_it_is),
    "no limit, power 0.4": ({"MAX_SUPPORT": np.inf, "SUPPORT_POWER": 0.4}, as_it_is),
    "by size": ({"count_votes": no_votes}, by_size),
}


def main() -> None:
    torch.set_num_threads(1)
    photos, threshold = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else THRESHOLD
    truth = read_ground_truth(photos / "annotations.json", COCO_17)
    unlabeled = sure_proposals(photos / "people_boxes.json", {image.id: image.file_name for image in truth.images})
    detector = make_detector("default")
    for name, (changes, change) in VARIANTS.items():
        found = {}
        for entry in truth.images:
            image = Image(entry.file_name, read_image(photos / "images" / entry.file_name))
            with patch.multiple(base, **changes):
                found[entry.id] = [change(person, image) for person in detector.detect(image)]
        precision = box_average_precision(truth, found)
        tall, every = (
            count_detections(truth, found, threshold=threshold, min_height_px=lowest, unlabeled=unlabeled)
            for lowest in (MIN_HEIGHT, 0)
        )
        print(
            f"{name:20} AP {precision['AP']:.3f}, AP50 {precision['AP50']:.3f}, AP75 {precision['AP75']:.3f};"
            f" tall recall {tall.recall:.3f}, precision {tall.precision:.3f};"
            f" all {every.boxes} boxes, recall {every.recall:.3f}, precision {every.precision:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
