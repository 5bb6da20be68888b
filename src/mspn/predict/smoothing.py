"""Smoothing of the people in videos while results arrive."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

import numpy as np

from mspn.predict.pipeline import ImageResult
from mspn.structures.image import Video
from mspn.structures.pose import Pose
from mspn.tracking.one_euro import OneEuroFilter


class OnlineSmoother:
    """Smooths the keypoints of people in videos frame by frame, without looking ahead, by a `OneEuroFilter`.

    Images, and people without a track id, stay as they are.
    """

    def __init__(self) -> None:
        self._video: Video | None = None
        self._filter = OneEuroFilter()

    def smooth(self, result: ImageResult) -> ImageResult:
        """The next result, whose frame follows that of the one before if both are of the same video."""
        frame = result.image.frame if result.image else None
        tracks = {pose.track_id: pose for pose in result.poses if pose.track_id is not None}
        if frame is None or not tracks:
            return result
        if frame.video is not self._video:
            self._video, self._filter = frame.video, OneEuroFilter()
        keypoints = self._filter.update(
            np.array(list(tracks)),
            np.stack([pose.keypoints_image for pose in tracks.values()]).astype(np.float64),
            np.stack([pose.keypoint_scores for pose in tracks.values()]).astype(np.float64),
            frame.seconds,
        )
        smoothed: dict[int | None, Pose] = {
            track_id: replace(pose, keypoints_image=points)
            for (track_id, pose), points in zip(tracks.items(), keypoints, strict=True)
        }
        return replace(result, poses=[smoothed.get(pose.track_id, pose) for pose in result.poses])


def smooth_online(results: Generator[ImageResult, None, None]) -> Generator[ImageResult, None, None]:
    """Results in order, smoothed by an `OnlineSmoother`; closing the generator closes `results`."""
    smoother = OnlineSmoother()
    with closing(results):
        for result in results:
            yield smoother.smooth(result)
