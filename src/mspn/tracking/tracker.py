"""Following the people of a video: who is who from frame to frame."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from mspn.errors import MspnError
from mspn.structures.boxes import Box, Detection, check_box
from mspn.structures.image import FrameInfo, Video
from mspn.structures.pose import Pose
from mspn.structures.skeleton import Skeleton
from mspn.tracking.association import associate, fit_to_predicted
from mspn.tracking.point_tracker import (
    BOX_SIGMAS,
    TRACKER_DEFAULTS,
    PointTracker,
    TrackerSettings,
    observe_boxes,
    observe_poses,
)


class PoseTracker(Protocol):
    """Says who is who from frame to frame, as `Tracker` does; `mspn.outputs.adapters.SupervisionTracker` is another."""

    def update(self, poses: Sequence[Pose], frame: FrameInfo) -> list[Pose]:
        """The poses of the next frame, with `track_id` where they belong to a track; others may be left out."""
        ...

    def end_tracks(self) -> None:
        """Follow nobody any longer: the next frame shows something else."""
        ...


class Tracker:
    """Gives the people of a video ids that stay, also while they are hidden for up to two seconds.

    >>> import mspn, numpy as np
    >>> estimator, tracker = mspn.PoseEstimator("mspn-tiny", "none"), mspn.Tracker()
    >>> for number in range(3):
    ...     poses = tracker.update(estimator(np.zeros((64, 48, 3), np.uint8)), number / 25)
    >>> poses[0].track_id
    1

    Detections are associated in two steps, as in ByteTrack: those from `confident_score` on with all tracks, then
    doubtful ones with the tracks that are left. What counts is OKS of the poses and where a Kalman filter expects them.
    It sees the poses, their boxes and times alone, so that the same results give the same ids.
    """

    def __init__(self, settings: TrackerSettings = TRACKER_DEFAULTS) -> None:
        self._settings = settings
        self._video: Video | None = None
        self._seconds = -np.inf
        self._points: PointTracker | None = None
        """Made with the first poses, whose skeleton it needs."""
        self._skeleton: Skeleton | None = None
        self._box_scores: dict[int, float] = {}
        """Of the people in the latest frame, by id."""

    def end_tracks(self) -> None:
        """Follow nobody any longer, as after a cut; the ids that come are new."""
        self._box_scores = {}
        if self._points is not None:
            self._points.end_tracks()

    def update(self, poses: Sequence[Pose], frame: FrameInfo | float, *, boxes_are_measured: bool = True) -> list[Pose]:
        """The poses of the next frame with their ids.

        Poses that resemble somebody else's, and doubtful ones that continue no track, are left out.

        Args:
            poses: of one frame and one skeleton, in any order.
            frame: as `ImageResult.image.frame` has it, or its time in seconds. Another video, another skeleton, or a
                time before that of the last frame begins anew, with ids from 1 on.
            boxes_are_measured: False: the poses were estimated in the boxes of `predict_boxes`.
        """
        if poses and poses[0].skeleton != self._skeleton:
            self._skeleton = poses[0].skeleton
            self._points = None
        seconds = self._begin_frame(frame)
        if self._points is None:
            self._points = PointTracker(np.array(poses[0].skeleton.sigmas), self._settings) if poses else None
        if self._points is None:
            return []
        ids = self._points.update(
            observe_poses(poses) if poses else self._points.nobody,
            np.array([pose.box_score for pose in poses]),
            seconds,
            frame.video.size if isinstance(frame, FrameInfo) else None,
            boxes_are_measured=boxes_are_measured,
        ).tolist()
        tracked = [replace(pose, track_id=track_id) for pose, track_id in zip(poses, ids, strict=True) if track_id]
        self._box_scores = {pose.track_id: pose.box_score for pose in tracked if pose.track_id is not None}
        return tracked

    def predict_boxes(self, frame: FrameInfo) -> list[Detection]:
        """Where the people of the latest frame should be in the next one, with the scores of their boxes.

        A box keeps its size and moves with its person; boxes outside the frame are left out.
        """
        seconds = self._begin_frame(frame)
        if self._points is None:
            return []
        self._points.predict(seconds)
        detections = []
        for track_id, ((left, top), (right, bottom)) in zip(
            self._points.ids.tolist(), self._points.motion.corners.tolist(), strict=True
        ):
            box = Box(left, top, right - left, bottom - top)
            if track_id in self._box_scores and _is_inside(box, frame):
                detections.append(Detection(box, self._box_scores[track_id]))
        return detections

    def choose_doubtful(
        self, confident: Sequence[Detection], doubtful: Sequence[Detection], frame: FrameInfo
    ) -> list[Detection]:
        """Which doubtful detections of the next frame may be somebody who was there in the latest.

        So that the network need not look at all of them: those that are where no confident detection is, but somebody
        should be.
        """
        seconds = self._begin_frame(frame)
        if self._points is None or not doubtful:
            return []
        self._points.predict(seconds)
        motion = self._points.motion
        boxes = replace(motion, points=motion.corners, weights=np.ones(motion.corners.shape[:2]))
        seen = observe_boxes([detection.box for detection in (*confident, *doubtful)])
        pairs = associate(
            fit_to_predicted(boxes, seen, BOX_SIGMAS),
            is_confident=np.arange(len(seen.points)) < len(confident),
            is_recent=self._points.is_recent,
            min_fit=self._settings.min_similarity,
        )
        return [doubtful[index - len(confident)] for index in sorted(pairs.seen.tolist()) if index >= len(confident)]

    def _begin_frame(self, frame: FrameInfo | float) -> float:
        """Begin anew where the frame does not follow the last one; its time."""
        video, seconds = (frame.video, frame.seconds) if isinstance(frame, FrameInfo) else (None, float(frame))
        if video is not self._video or seconds < self._seconds:
            self._points = None
            self._box_scores = {}
        self._video, self._seconds = video, seconds
        return seconds


def _is_inside(box: Box, frame: FrameInfo) -> bool:
    try:
        check_box(box, frame.video.size)
    except MspnError:
        return False
    return True
