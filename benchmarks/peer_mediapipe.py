"""MediaPipe's pose solution as a peer: python -m benchmarks.peer_mediapipe, in an environment that has it.

It finds one person in an image, so that each person is cut out with some surroundings and given to it alone; it then
looks for the person in there, too, before its larger network.
"""

from collections.abc import Sequence

import cv2
import mediapipe
import numpy as np

from benchmarks.peer_process import GivenBox, serve

_PADDING = 1.25
_LANDMARKS = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""COCO's keypoints among its 33."""
_MIN_CONFIDENCE = 0.1
"""Below its default of 0.5, since somebody is there for sure."""


class MediaPipePeer:
    """The network that its wheel holds, "full"."""

    def __init__(self) -> None:
        self._pose = mediapipe.solutions.pose.Pose(
            static_image_mode=True, model_complexity=1, min_detection_confidence=_MIN_CONFIDENCE
        )

    def read(self, path: str) -> np.ndarray:
        image = cv2.imread(path)
        assert image is not None, f"{path} cannot be read"
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def estimate(self, image: np.ndarray, boxes: Sequence[GivenBox]) -> np.ndarray:
        people = np.zeros((len(boxes), 17, 3))
        for person, (left, top, width, height) in zip(people, boxes, strict=True):
            side = _PADDING * max(width, height)
            corner = np.array([left + (width - side) / 2, top + (height - side) / 2])
            person[:, :2] = corner + side / 2
            start = corner.round().astype(int).clip(0)
            end = (corner + side).round().astype(int).clip(0, (image.shape[1], image.shape[0]))
            crop = np.ascontiguousarray(image[start[1] : end[1], start[0] : end[0]])
            found = self._pose.process(crop).pose_landmarks
            if found is not None:
                marks = [found.landmark[number] for number in _LANDMARKS]
                shares = np.array([(mark.x, mark.y) for mark in marks])
                person[:, :2] = start + shares * [crop.shape[1], crop.shape[0]]
                person[:, 2] = [mark.visibility for mark in marks]
        return people


if __name__ == "__main__":
    cv2.setNumThreads(1)
    serve(MediaPipePeer)
