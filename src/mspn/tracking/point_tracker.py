"""Following points, such as keypoints and corners of boxes, from frame to frame."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from mspn.structures.boxes import Box, Size, to_xyxy
from mspn.structures.pose import Pose
from mspn.structures.settings import Settings
from mspn.tracking.association import associate, fit_to_predicted, observed_similarity
from mspn.tracking.motion import Motion, Observation

_MIN_KEYPOINT_SCORE = 0.1
"""Keypoints with a lower score say nothing of where somebody is."""
_MIN_PATIENCE_SECONDS = 0.5
BOX_SIGMAS = np.full(2, 0.1)
"""Of two corners of a box, as keypoints have them."""


class TrackerSettings(Settings):
    """How people are followed; times are in seconds, so that the rate of a video does not matter."""

    confident_score: float = Field(0.3, ge=0, le=1)
    """Detections from this score on may begin a track; others can only continue one."""
    patience_seconds: float = Field(2.0, ge=0)
    """Somebody hidden for longer comes back as somebody else. Who was seen for a shorter time is waited for as long as
    that, and half a second at least."""
    min_similarity: float = Field(0.5, gt=0, le=1)
    """Lowest OKS of a pose and where its person was expected; the longer hidden, the more it takes, and the more room
    the person has moved in."""
    duplicate_oks: float = Field(0.7, gt=0, le=1)
    """A pose that resembles one of a track more than this, and belongs to no track itself, is left out."""


TRACKER_DEFAULTS = TrackerSettings()


class PointTracker:
    """Follows whatever is seen as points, keypoints or corners of boxes; ids count from 1 on."""

    def __init__(self, sigmas: Float[np.ndarray, " P"], settings: TrackerSettings = TRACKER_DEFAULTS) -> None:
        self._sigmas = sigmas
        self._settings = settings
        self._next_id = 1
        self._seconds = 0.0
        self.end_tracks()

    def end_tracks(self) -> None:
        """Follow nobody any longer, as after a cut; ids go on."""
        self.motion = Motion.start(self.nobody)
        self.ids = np.empty(0, int)
        self._first_seen = np.empty(0)
        self._last_seen = np.empty(0)
        self.is_recent = np.empty(0, bool)
        """Whether a track was begun or continued in the latest frame."""

    @property
    def nobody(self) -> Observation:
        """What a frame without people shows."""
        num_points = len(self._sigmas)
        return Observation(np.empty((0, num_points, 2)), np.empty((0, num_points)), np.empty((0, 2, 2)))

    def predict(self, seconds: float) -> None:
        """Move everyone to where they should be at a time, which is not before the last one."""
        elapsed = max(seconds - self._seconds, 0.0)
        self._seconds = seconds
        if elapsed and len(self.ids):
            self.motion.predict(elapsed)

    def update(
        self,
        seen: Observation,
        scores: Float[np.ndarray, " N"],
        seconds: float,
        size: Size | None = None,
        *,
        boxes_are_measured: bool = True,
    ) -> Int[np.ndarray, " N"]:
        """The ids of what is seen in a frame; 0 for what belongs to no track.

        Args:
            seen: in the frame.
            scores: of the detections, 0 to 1.
            seconds: time stamp of the frame.
            size: of the frame; who is expected outside it is waited for no longer.
            boxes_are_measured: whether a detector looked, rather than boxes being predicted by this tracker.
        """
        self.predict(seconds)
        self._end_old_tracks(size)
        settings = self._settings
        is_confident = scores >= settings.confident_score
        pairs = associate(
            fit_to_predicted(self.motion, seen, self._sigmas),
            is_confident=is_confident,
            is_recent=self.is_recent,
            min_fit=settings.min_similarity,
        )
        ids = np.zeros(len(scores), int)
        ids[pairs.seen] = self.ids[pairs.tracks]
        self.motion.correct(pairs.tracks, seen.take(pairs.seen), boxes_are_measured=boxes_are_measured)
        self._last_seen[pairs.tracks] = seconds
        self.is_recent[:] = False
        self.is_recent[pairs.tracks] = True
        self._begin_tracks(seen, ids, is_confident)
        return ids

    def _end_old_tracks(self, size: Size | None) -> None:
        """Forget who was away for too long, or has left."""
        longest = self._settings.patience_seconds
        away = self._seconds - self._last_seen
        patience = np.clip(self._last_seen - self._first_seen, _MIN_PATIENCE_SECONDS, longest)
        # At a low rate of frames nobody can be seen twice within a shorter time.
        kept = away <= np.where(self.is_recent, longest, patience)
        if size is not None:
            top_left, bottom_right = self.motion.corners[:, 0], self.motion.corners[:, 1]
            is_inside = ((bottom_right > 0) & (top_left < (size.width, size.height))).all(1)
            kept &= is_inside | self.is_recent
        self.motion.keep(kept)
        self.ids, self.is_recent = self.ids[kept], self.is_recent[kept]
        self._first_seen, self._last_seen = self._first_seen[kept], self._last_seen[kept]

    def _begin_tracks(
        self, seen: Observation, ids: Int[np.ndarray, " N"], is_confident: Bool[np.ndarray, " N"]
    ) -> None:
        """Give new ids to the confident ones that have none, and resemble nobody who has."""
        (new,) = np.nonzero(is_confident & (ids == 0))
        (known,) = np.nonzero(ids)
        if len(new) and len(known):
            similar = observed_similarity(seen.take(new), seen.take(known), self._sigmas)
            new = new[(similar <= self._settings.duplicate_oks).all(1)]
        ids[new] = np.arange(self._next_id, self._next_id + len(new))
        self._next_id += len(new)
        self.motion.add(Motion.start(seen.take(new)))
        times = np.full(len(new), self._seconds)
        self.ids = np.concatenate([self.ids, ids[new]])
        self._first_seen = np.concatenate([self._first_seen, times])
        self._last_seen = np.concatenate([self._last_seen, times])
        self.is_recent = np.concatenate([self.is_recent, np.ones(len(new), bool)])


def observe_boxes(boxes: Sequence[Box]) -> Observation:
    """Boxes, whose corners are the points."""
    corners = to_xyxy(boxes).reshape(-1, 2, 2)
    return Observation(corners, np.ones(corners.shape[:2]), corners)


def observe_poses(poses: Sequence[Pose]) -> Observation:
    """Poses of one skeleton, at least one, whose keypoints are the points."""
    points = np.stack([pose.keypoints_image for pose in poses])
    scores = np.stack([pose.keypoint_scores for pose in poses])
    is_seen = (scores >= _MIN_KEYPOINT_SCORE) & np.isfinite(points).all(-1)
    corners = to_xyxy([pose.box for pose in poses]).reshape(-1, 2, 2)
    return Observation(np.nan_to_num(points), np.where(is_seen, scores, 0.0), corners)
