"""How well and how fast detectors find people: average precision, recall, precision and milliseconds.

A box of at least the threshold is right where it overlaps a labeled person by half or more, or else a box that a
public detector proposes with a score of 0.3 or more (people_boxes.json beside the labels), since labels leave people
out. A person is found by a box of one's own. Recall is of people more than 96 pixels high, precision once of all boxes
and once of those more than 96 pixels high. Detectors take turns image by image, so that other work on the machine
disturbs all alike.
Neighbors are people whose boxes overlap by 0.3 or more; a duplicate is one more box of a person who has a better one.
Run: OMP_NUM_THREADS=1 python -m benchmarks.detectors PHOTOS default yolox_tiny.onnx transformers:NAME
"""

import sys
import time
from pathlib import Path
from statistics import median

import cv2
import torch

from mspn.detectors import make_detector
from mspn.detectors.precomputed import BoxesFile
from mspn.evaluation.average_precision import box_average_precision, read_ground_truth
from mspn.evaluation.detection_counts import count_crowds, count_detections
from mspn.io.images import read_image
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from mspn.structures.skeleton import COCO_17

MIN_HEIGHT = 96
THRESHOLD = 0.3


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    photos, names = Path(sys.argv[1]), sys.argv[2:]
    truth = read_ground_truth(photos / "annotations.json", COCO_17)
    detectors = {name: make_detector(name) for name in names}
    found: dict[str, dict[int, list[Detection]]] = {name: {} for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for entry in truth.images:
        image = Image(entry.file_name, read_image(photos / "images" / entry.file_name))
        for name, detector in detectors.items():
            start = time.process_time()
            found[name][entry.id] = detector.detect(image)
            seconds[name].append(time.process_time() - start)
    unlabeled = sure_proposals(photos / "people_boxes.json", {image.id: image.file_name for image in truth.images})
    for name in names:
        precision = box_average_precision(truth, found[name])
        tall, every = (
            count_detections(truth, found[name], threshold=THRESHOLD, min_height_px=lowest, unlabeled=unlabeled)
            for lowest in (MIN_HEIGHT, 0)
        )
        crowds = count_crowds(truth, found[name], threshold=THRESHOLD)
        print(
            f"{name}: AP {precision['AP']:.3f}, AP50 {precision['AP50']:.3f}; from a score of {THRESHOLD} on"
            f" recall {tall.recall:.3f} of {tall.people} people above {MIN_HEIGHT} pixels,"
            f" precision {tall.precision:.3f} of {tall.boxes} boxes as high,"
            f" {every.precision:.3f} of all {every.boxes};"
            f" {crowds.matched_people} of {crowds.people} neighbors found,"
            f" {crowds.duplicates / len(truth.images):.2f} duplicates an image;"
            f" {1000 * median(seconds[name]):.0f} ms an image (median of {len(seconds[name])})"
        )


def sure_proposals(path: Path, names: dict[int, str]) -> dict[int, list[Box]]:
    """Boxes with a score of 0.3 or more, by image id."""
    proposed = BoxesFile(path)
    return {
        image_id: [one.box for one in proposed.find(name, image_id) if one.score >= THRESHOLD]
        for image_id, name in names.items()
    }


if __name__ == "__main__":
    main()
