"""MPII's files as tests write them: two people in one image and one in another, counted from 1."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from tests.labels.formats.mat_structs import struct_array

PEOPLE = 3
CENTERS = ([101, 201], [401, 201], [101, 201])
IMAGES = ("a.jpg", "a.jpg", "b.jpg")
HEAD_BOXES = ([11, 21, 41, 61], [11, 21, 71, 101], [11, 21, 17, 29])
"""Left, top, right, bottom; diagonals of 50, 100 and 10 pixels."""


def joints() -> np.ndarray:
    """People x 16 x (x, y): keypoint k of person n is at (101 + 10 k, 201 + n)."""
    return np.array([[[101 + 10 * k, 201 + n] for k in range(16)] for n in range(PEOPLE)], np.float64)


def write_json(path: Path, **changes: Any) -> Path:
    """HRNet's JSON; the third person's ankles, the first and the sixth keypoint, are not labeled."""
    rows: list[dict[str, Any]] = [
        {"image": image, "center": center, "scale": 1.5, "joints": positions, "joints_vis": [1] * 16}
        for image, center, positions in zip(IMAGES, CENTERS, joints().tolist(), strict=True)
    ]
    rows[2]["joints_vis"] = [0, 1, 1, 1, 1, 0, *[1] * 10]
    path.write_text(json.dumps([row | changes for row in rows]))
    return path


def write_truth(path: Path, people: slice = slice(None)) -> Path:
    """HRNet's gt_valid.mat, as far as it is read."""
    corners = np.array(HEAD_BOXES, np.float64)[people].reshape(-1, 2, 2)
    content = {"headboxes_src": corners.transpose(1, 2, 0), "pos_gt_src": joints()[people].transpose(1, 2, 0)}
    savemat(path, content)
    return path


def write_release(path: Path, head_boxes: tuple[list[int], ...] = HEAD_BOXES) -> Path:
    """MPII's own .mat with the same people, the second image first."""
    rects = [
        dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
        | {
            "annopoints": np.array([]),
            "scale": 1.5,
            "objpos": struct_array([{"x": center[0], "y": center[1]}]),
        }
        for box, center in zip(head_boxes, CENTERS, strict=True)
    ]
    entries = [
        {"image": struct_array([{"name": name}]), "annorect": struct_array(found)}
        for name, found in (("b.jpg", rects[2:]), ("a.jpg", rects[:2]))
    ]
    release = {"annolist": struct_array(entries), "img_train": np.array([[1, 1]])}
    savemat(path, {"RELEASE": struct_array([release])})
    return path
