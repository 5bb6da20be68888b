"""Results as the pipeline gives them."""

from fractions import Fraction

import numpy as np

from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box, Size
from mspn.structures.image import FrameInfo, Image, Video
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17

SIZE = Size(60, 50)


def a_pose() -> Pose:
    """Nose at (0, 1), left eye at (2, 3), ..., right ankle at (32, 33)."""
    keypoints = np.arange(34, dtype=float).reshape(17, 2)
    return Pose(COCO_17, keypoints, np.full(17, 0.75), 0.6, 1.0, Box(1, 2, 30, 40), 0.8)


def of_image(source: str, poses: list[Pose] | None = None) -> ImageResult:
    """Somebody in a black image, or these."""
    poses = [a_pose()] if poses is None else poses
    return ImageResult(source, Image(source, np.zeros((*SIZE, 3), np.uint8)), poses, [])


def a_video(source: str, *, is_live: bool = False) -> Video:
    return Video(source, SIZE, Fraction(25), None, is_live)


def of_frame(video: Video, frame: int, seconds: float) -> ImageResult:
    """Somebody in a black frame."""
    image = Image(video.source, np.zeros((*video.size, 3), np.uint8), FrameInfo(video, frame, seconds))
    return ImageResult(video.source, image, [a_pose()], [])


def unreadable(source: str) -> ImageResult:
    return ImageResult(source, None, [], ["not an image"])
