"""Images like photographs, drawn on the spot: full-size JPEGs with soft shapes, texture and grain."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mspn.structures.boxes import Size
from mspn.structures.skeleton import COCO_17
from tests.coco_files import person, write_annotations

SIZE = Size(3000, 4000)
"""12 megapixels, as phones take them."""
PEOPLE_PER_IMAGE = 2
_QUALITY = 92
_OCTAVES = (3, 9, 27, 81, 243, 729)


def write_photographs(folder: Path, count: int, size: Size = SIZE) -> tuple[Path, Path]:
    """Write images and labels of two people each, who fill 40 to 90 percent of the height; nobody is to be seen.

    Returns:
        The COCO annotation file, and the folder of images.
    """
    rng = np.random.default_rng(0)
    images = folder / "images"
    images.mkdir(parents=True)
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        cv2.imwrite(str(images / f"{number}.jpg"), _draw(rng, size), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        for _ in range(PEOPLE_PER_IMAGE):
            height = rng.uniform(0.4, 0.9) * size.height
            width = height * rng.uniform(0.3, 0.6)
            left, top = rng.uniform(0, (size.width - width, size.height - height))
            points = rng.uniform((left, top), (left + width, top + height), (17, 2))
            labeled = {name: (x, y, 2) for name, (x, y) in zip(COCO_17.keypoints, points.tolist(), strict=True)}
            box = {"bbox": [left, top, width, height], "area": 0.53 * width * height}
            annotations.append(person(len(annotations) + 1, number, labeled, **box))
    names = {number: f"{number}.jpg" for number in range(count)}
    return write_annotations(folder / "annotations.json", annotations, names), images


def _draw(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Noise whose strength falls with its fineness, as in images of things, and the grain of a sensor."""
    image = np.full((*size, 3), 110, np.float32)
    for octave in (octave for octave in _OCTAVES if 3 * octave < size.height):
        coarse = rng.normal(0, 60 / octave**0.5, (3 * octave, 4 * octave, 3)).astype(np.float32)
        image += cv2.resize(coarse, (size.width, size.height), interpolation=cv2.INTER_LINEAR)
    grain = rng.standard_normal(size, np.float32) * 5
    image += cv2.GaussianBlur(grain, (3, 3), 0)[..., None]
    return image.clip(0, 255).astype(np.uint8)
