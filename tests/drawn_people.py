"""Images of stick figures with their labels, drawn on the spot: the suite needs no photo."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mspn.structures.skeleton import COCO_17

# A standing figure in a box of 1 x 2, (x, y) from its top-left corner, in the order of COCO_17.
_STANDING = np.array(
    [
        *([0.50, 0.20], [0.56, 0.15], [0.44, 0.15], [0.62, 0.18], [0.38, 0.18]),
        *([0.70, 0.42], [0.30, 0.42], [0.82, 0.70], [0.18, 0.70], [0.90, 0.98], [0.10, 0.98]),
        *([0.62, 1.05], [0.38, 1.05], [0.66, 1.45], [0.34, 1.45], [0.70, 1.88], [0.30, 1.88]),
    ]
)


def write_drawn_set(folder: Path, *, num_images: int, people_per_image: int = 1, seed: int = 0) -> Path:
    """Draw images of 160x120 pixels a person into `folder/images`, and write their COCO `annotations.json`."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, num_images + 1):
        canvas = np.full((160, 120 * people_per_image, 3), random.integers(180, 255, 3), np.uint8)
        for place in range(people_per_image):
            keypoints = _STANDING * 60 + [120 * place + 30, 20] + random.uniform(-6, 6, (17, 2))
            _draw_figure(canvas, keypoints)
            left, top = keypoints.min(0) - 6
            width, height = keypoints.max(0) + 6 - (left, top)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": 0,
                    "bbox": [left, top, width, height],
                    "area": 0.53 * width * height,
                    "num_keypoints": 17,
                    "keypoints": np.column_stack([keypoints, np.full(17, 2)]).ravel().tolist(),
                }
            )
        name = f"{image_id:012d}.png"
        cv2.imwrite(str(folder / "images" / name), canvas)
        images.append({"id": image_id, "file_name": name, "height": canvas.shape[0], "width": canvas.shape[1]})
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints)}
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    return path


def _draw_figure(canvas: np.ndarray, keypoints: np.ndarray) -> None:
    points = np.rint(keypoints).astype(int).tolist()
    for number, (start, end) in enumerate(COCO_17.limb_indices):
        color = (40 + 15 * number, 220 - 14 * number, (90 * number) % 256)
        cv2.line(canvas, points[start], points[end], color, 5, cv2.LINE_AA)
