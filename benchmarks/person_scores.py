"""Whether a person's score tells people from things better than the detector's score of the box alone.

From photos to poses: average precision at an overlap of 0.5 when the same boxes are sorted by either score, and recall
and precision of as many boxes as the detector gives a score of 0.3 or more. What is right is told as in
`benchmarks/detectors.py`.
Run: OMP_NUM_THREADS=1 python -m benchmarks.person_scores PHOTOS WEIGHTS ...
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.detectors import THRESHOLD, sure_proposals
from mspn.evaluation.average_precision import box_average_precision, read_ground_truth
from mspn.evaluation.detection_counts import count_detections
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Detection
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17

_LOWEST = (0.1, 0.2, 0.3)
"""Scores of boxes from which on poses are estimated."""
_SORTED_BY: dict[str, Callable[[Pose], float]] = {
    "box score": lambda pose: pose.box_score,
    "person's score": lambda pose: pose.score,
}


def main() -> None:
    torch.set_num_threads(1)
    photos, models = Path(sys.argv[1]), sys.argv[2:]
    truth = read_ground_truth(photos / "annotations.json", COCO_17)
    names = {image.id: image.file_name for image in truth.images}
    unlabeled = sure_proposals(photos / "people_boxes.json", names)
    for model in models:
        estimator = PoseEstimator(model, threshold=_LOWEST[0], suppression_oks=None)
        poses = {image_id: estimator(photos / "images" / name) for image_id, name in names.items()}
        count = sum(pose.box_score >= THRESHOLD for found in poses.values() for pose in found)
        for lowest in _LOWEST:
            for name, score in _SORTED_BY.items():
                found = {
                    image_id: [Detection(pose.box, score(pose)) for pose in of_image if pose.box_score >= lowest]
                    for image_id, of_image in poses.items()
                }
                scores = sorted((one.score for of_image in found.values() for one in of_image), reverse=True)
                counts = count_detections(truth, found, threshold=scores[count - 1], unlabeled=unlabeled)
                precision = box_average_precision(truth, found)
                print(
                    f"{model}, boxes from {lowest} on, by {name}: AP50 {precision['AP50']:.3f};"
                    f" of the {counts.boxes} best recall {counts.recall:.3f}, precision {counts.precision:.3f}"
                )


if __name__ == "__main__":
    main()
