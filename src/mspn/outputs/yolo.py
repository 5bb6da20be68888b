"""YOLO-pose labels, to review and train on."""

from pathlib import Path

import numpy as np

from mspn.io.files import explain_failures, write_text
from mspn.labels.formats.yolo import SETTINGS_FILE, format_row, write_settings
from mspn.outputs.names import FileNames
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box, Size
from mspn.structures.pose import Pose

_MIN_SCORE = 0.3
"""Keypoints below it are written as unlabeled."""


class YoloWriter:
    """`yolo/`: one text file per image in `labels`, and data.yaml; put the images themselves into `images`.

    Labels are named as the images are, with their sub-folders below `source_folder`, since names are what links them.
    Trainers refuse what is outside the image: boxes are cut off at its border, and keypoints beyond it, like those
    with a low score, are unlabeled. All others are written as visible.
    """

    FOLDER = "yolo"

    def __init__(self, folder: Path, source_folder: Path | None = None) -> None:
        self._folder = folder / self.FOLDER
        self._names = FileNames(source_folder)
        self._has_settings = False

    def write(self, result: ImageResult) -> None:
        if result.image is None:
            return
        rows = [_format_pose(pose, result.image.size) for pose in result.poses]
        path = self._folder / "labels" / f"{self._names.choose(result.image)}.txt"
        with explain_failures(path):
            write_text(path, "".join(f"{row}\n" for row in rows))
            if result.poses and not self._has_settings:
                write_settings(self._folder / SETTINGS_FILE, result.poses[0].skeleton)
                self._has_settings = True

    def close(self) -> None:
        pass


def _format_pose(pose: Pose, size: Size) -> str:
    limits = (size.width, size.height)
    points = pose.keypoints_image
    is_labeled = (points >= 0).all(1) & (points <= limits).all(1) & (pose.keypoint_scores >= _MIN_SCORE)
    labels = np.column_stack([points, np.full(len(points), 2)]) * is_labeled[:, None]
    left, top = max(pose.box.left, 0), max(pose.box.top, 0)
    right, bottom = min(pose.box.left + pose.box.width, size.width), min(pose.box.top + pose.box.height, size.height)
    return format_row(labels, Box(left, top, right - left, bottom - top), size)
