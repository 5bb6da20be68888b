"""Where the people of a video are while the detector does not look."""

from collections.abc import Sequence

import numpy as np

from mspn.errors import MspnError
from mspn.structures.boxes import Box, Detection, Size, check_box
from mspn.structures.pose import Pose

_SEEN = 0.1
"""Keypoints with a lower score say nothing about movement."""
_MIN_KEYPOINTS = 4


class BoxPropagator:
    """Moves each person's box with the person's keypoints, from image to image.

    A box keeps its size and follows the median movement of the keypoints between the last two images. That is more
    accurate than a box that stays (people leave it) and than a box around the keypoints (it drifts, and is not what
    the network was trained with).
    """

    def __init__(self) -> None:
        self._people: list[tuple[Detection, Pose]] = []

    def start(self, poses: Sequence[Pose]) -> None:
        """Take note of the people of an image that the detector has looked at."""
        self._people = [(Detection(pose.box, pose.box_score), pose) for pose in poses]

    def detections(self, size: Size) -> list[Detection]:
        """Where to look for them in the next image, of that size; those who have left it are not among them."""
        return [detection for detection, _ in self._people if _is_inside(detection.box, size)]

    def follow(self, poses: Sequence[Pose]) -> None:
        """Take note of the poses that were found there; who has none is followed no longer."""
        found = {pose.box: pose for pose in poses}
        self._people = [
            (
                Detection(propagate_box(detection.box, before, found[detection.box]), detection.score),
                found[detection.box],
            )
            for detection, before in self._people
            if detection.box in found
        ]


def propagate_box(box: Box, before: Pose, now: Pose) -> Box:
    """The box moved by the median movement of the keypoints seen in both poses; where those are few, as it is."""
    is_seen = np.minimum(before.keypoint_scores, now.keypoint_scores) >= _SEEN
    if is_seen.sum() < _MIN_KEYPOINTS:
        return box
    right, down = np.median((now.keypoints_image - before.keypoints_image)[is_seen], axis=0).tolist()
    return Box(box.left + right, box.top + down, box.width, box.height)


def _is_inside(box: Box, size: Size) -> bool:
    try:
        check_box(box, size)
    except MspnError:
        return False
    return True
