"""Box propagation in a video between two runs of the detector; people get no ids."""

from collections.abc import Sequence

import numpy as np

from mspn.errors import MspnError
from mspn.structures.boxes import Box, Detection, Size, check_box, iou, to_xyxy
from mspn.structures.pose import Pose

_MIN_KEYPOINT_SCORE = 0.1
"""Keypoints with a lower score do not move the box."""
_MIN_KEYPOINTS = 4
"""With fewer, the box stays."""


class BoxPropagator:
    """Propagates each person's box from frame to frame, by the movement of the person's keypoints.

    A box keeps its size and follows the median movement of the keypoints between the last two frames. That is more
    accurate than a fixed box, which people leave, and than a box around the keypoints, which drifts and differs from
    the boxes that the network was trained with.
    """

    def __init__(self) -> None:
        self._people: list[tuple[Detection, Pose]] = []

    def reset(self, poses: Sequence[Pose]) -> None:
        """Start from the poses of a frame on which the detector ran."""
        self._people = [(Detection(pose.box, pose.box_score), pose) for pose in poses]

    def detections(self, size: Size) -> list[Detection]:
        """Boxes for the next frame, of that size; boxes outside of it are left out."""
        return [detection for detection, _ in self._people if _is_inside(detection.box, size)]

    def update(self, poses: Sequence[Pose]) -> None:
        """Move each box by the pose that was estimated in it; boxes without a pose are dropped.

        A pose belongs to the box that overlaps its own most, and each box has one pose at most. Their numbers need not
        be equal: those of a resumed run went through a file.
        """
        if not self._people or not poses:
            self._people = []
            return
        boxes = to_xyxy([detection.box for detection, _ in self._people])
        overlaps = iou(to_xyxy([pose.box for pose in poses])[:, None], boxes)
        pose_of_person: dict[int, Pose] = {}
        for index in np.argsort(-overlaps.max(1), kind="stable").tolist():
            person = int(overlaps[index].argmax())
            if overlaps[index, person] > 0:
                pose_of_person[person] = poses[index]
                overlaps[:, person] = 0
        self._people = [
            (Detection(propagate_box(detection.box, previous, current), detection.score), current)
            for person, (detection, previous) in enumerate(self._people)
            if (current := pose_of_person.get(person)) is not None
        ]


def propagate_box(box: Box, previous: Pose, current: Pose) -> Box:
    """Move a box by the median movement of the keypoints visible in both poses; with fewer than four, it stays."""
    is_visible = np.minimum(previous.keypoint_scores, current.keypoint_scores) >= _MIN_KEYPOINT_SCORE
    if is_visible.sum() < _MIN_KEYPOINTS:
        return box
    right, down = np.median((current.keypoints_image - previous.keypoints_image)[is_visible], axis=0).tolist()
    return Box(box.left + right, box.top + down, box.width, box.height)


def _is_inside(box: Box, size: Size) -> bool:
    try:
        check_box(box, size)
    except MspnError:
        return False
    return True
