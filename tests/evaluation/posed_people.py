"""People and predictions whose similarities are worked out by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mspn.evaluation.average_precision import read_ground_truth
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.skeleton import COCO_17
from tests.coco_files import person, write_annotations

Labels = Mapping[str, Sequence[float]]

# With an area of 100 x 100 px, a shoulder (sigma 0.079) has similarity exp(-(d / 15.8 px)^2 / 2) at a distance of d:
# 0.882 at 7.9 px, 0.607 at 15.8 px, 0.135 at 31.6 px.
AREA = 10_000.0
SHOULDERS: Labels = {"left_shoulder": (200, 100, 2), "right_shoulder": (100, 100, 2)}


def labeled(number: int, image_id: int, labels: Labels, **changes: Any) -> dict[str, Any]:
    return person(number, image_id, labels, **({"area": AREA, "bbox": [50, 50, 200, 200]} | changes))


def predicted(image_id: int, points: Labels, score: float) -> dict[str, Any]:
    """A result; keypoints that are not in `points`, (x, y, score) by name, are at (0, 0) with score 0."""
    row = person(0, image_id, points)
    return {"image_id": image_id, "category_id": 1, "keypoints": row["keypoints"], "score": score}


def ground_truth_of(folder: Path, people: Sequence[Mapping[str, Any]]) -> CocoPeople:
    images = {row["image_id"]: f"{row['image_id']}.png" for row in people}
    return read_ground_truth(write_annotations(folder / "annotations.json", people, images), COCO_17)
