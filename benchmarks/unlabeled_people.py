"""What people whom labels leave out cost results from file to keypoints: AP as labeled, and as COCO itself counts.

COCO's own files have everybody: of people without keypoints the box, where a pose is neither right nor wrong. A sample
that has only those with keypoints counts such a pose as wrong. Here the boxes that a public detector proposes with a
score of 0.3 or more (people_boxes.json beside the labels), and that no labeled box overlaps by half, stand for them.
Run: python -m benchmarks.unlabeled_people PHOTOS found/coco.json [others.json ...]
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.detectors import sure_proposals
from mspn.evaluation.average_precision import average_precision, read_ground_truth
from mspn.structures.boxes import Box, iou, to_xyxy
from mspn.structures.skeleton import COCO_17

MAX_OVERLAP = 0.5


def main() -> None:
    photos, results = Path(sys.argv[1]), sys.argv[2:]
    labels = json.loads((photos / "annotations.json").read_text())
    unlabeled = list_unlabeled(labels, photos / "people_boxes.json")
    with tempfile.TemporaryDirectory() as folder:
        everybody = Path(folder) / "annotations.json"
        everybody.write_text(json.dumps(labels | {"annotations": labels["annotations"] + unlabeled}))
        truths = [read_ground_truth(path, COCO_17) for path in (photos / "annotations.json", everybody)]
    print(f"{len(labels['annotations'])} people with keypoints, {len(unlabeled)} proposed without")
    for name in results:
        rows = json.loads(Path(name).read_text())
        as_labeled, as_coco = (average_precision(truth, rows, COCO_17)["AP"] for truth in truths)
        print(f"{name}: AP {as_labeled:.3f}, with people without keypoints {as_coco:.3f}")


def list_unlabeled(labels: dict[str, Any], proposals: Path) -> list[dict[str, Any]]:
    """COCO annotations without keypoints, of boxes that are proposed and that no labeled one overlaps much."""
    labeled: dict[int, list[Box]] = {row["id"]: [] for row in labels["images"]}
    for row in labels["annotations"]:
        labeled[row["image_id"]].append(Box(*row["bbox"]))
    file_names = {row["id"]: row["file_name"] for row in labels["images"]}
    found = [
        (image_id, box)
        for image_id, boxes in sure_proposals(proposals, file_names).items()
        for box in boxes
        if (iou(to_xyxy([box]), to_xyxy(labeled[image_id])) < MAX_OVERLAP).all()
    ]
    first_id = 1 + max(row["id"] for row in labels["annotations"])
    return [
        {
            "id": first_id + number,
            "image_id": image_id,
            "category_id": labels["annotations"][0]["category_id"],
            "bbox": [box.left, box.top, box.width, box.height],
            "area": box.width * box.height / 2,  # a person fills about half of the box
            "iscrowd": 0,
            "keypoints": [0] * 51,
            "num_keypoints": 0,
        }
        for number, (image_id, box) in enumerate(found)
    ]


if __name__ == "__main__":
    main()
