"""Results as the pipeline gives them."""

from fractions import Fraction

import numpy as np

from mspn.picture import Moment, Picture, Video
from mspn.predict.pipeline import PictureResult
from mspn.records import Box, Pose, Size
from mspn.skeleton import COCO_17

SIZE = Size(60, 50)


def a_pose() -> Pose:
    """Nose at (0, 1), left eye at (2, 3), ..., right ankle at (32, 33)."""
    keypoints = np.arange(34, dtype=float).reshape(17, 2)
    return Pose(COCO_17, keypoints, np.full(17, 0.75), 0.6, 1.0, Box(1, 2, 30, 40), 0.8)


def of_picture(source: str, poses: list[Pose] | None = None) -> PictureResult:
    """Somebody in a black picture, or these."""
    poses = [a_pose()] if poses is None else poses
    return PictureResult(source, Picture(source, np.zeros((*SIZE, 3), np.uint8)), poses, [])


def a_video(source: str, *, is_live: bool = False) -> Video:
    return Video(source, SIZE, Fraction(25), None, is_live)


def of_frame(video: Video, frame: int, seconds: float) -> PictureResult:
    """Somebody in a black frame."""
    picture = Picture(video.source, np.zeros((*video.size, 3), np.uint8), Moment(video, frame, seconds))
    return PictureResult(video.source, picture, [a_pose()], [])


def unreadable(source: str) -> PictureResult:
    return PictureResult(source, None, [], ["not a picture"])
