"""Small labeled sets that tests write themselves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mspn.structures.skeleton import COCO_17


def person(number: int, image_id: int, labeled: Mapping[str, Sequence[float]], **changes: Any) -> dict[str, Any]:
    """An annotation; keypoints that are not in `labeled`, (x, y, visibility) by name, are unlabeled."""
    keypoints = [value for name in COCO_17.keypoints for value in labeled.get(name, (0, 0, 0))]
    annotation = {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [10, 20, 30, 60],
        "keypoints": keypoints,
        "num_keypoints": len(labeled),
        "iscrowd": 0,
    }
    return annotation | changes


def write_annotations(
    path: Path,
    annotations: Sequence[Mapping[str, Any]],
    images: Mapping[int, str],
    keypoint_names: Sequence[str] = COCO_17.keypoints,
) -> Path:
    """A COCO keypoint file; `images` are file names by id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": image_id, "file_name": name} for image_id, name in images.items()],
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "person", "keypoints": list(keypoint_names)}],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
