"""Following people and points through a video: who is who from frame to frame, and where a film is cut."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
from pydantic import Field

from mspn.errors import MspnError
from mspn.structures.boxes import Box, Detection, Size, check_box, iou, to_xyxy
from mspn.structures.image import FrameInfo, Video
from mspn.structures.pose import Pose
from mspn.structures.settings import Settings
from mspn.structures.shapes import Float, Int, UInt8
from mspn.structures.skeleton import Skeleton
from mspn.tracking.association import (
    Motion,
    Observation,
    associate,
    associate_rest,
    color_similarity,
    fit_to_predicted,
    nearness,
    observed_similarity,
)

_MIN_KEYPOINT_SCORE = 0.1
"""Keypoints with a lower score say nothing of where somebody is."""
_MIN_PATIENCE_SECONDS = 0.5
BOX_SIGMAS = np.full(2, 0.1)
"""Of two corners of a box, as keypoints have them."""


class TrackerSettings(Settings):
    """How people are followed; times are in seconds, so that the rate of a video does not matter."""

    confident_score: float = Field(0.3, ge=0, le=1)
    """Detections from this score on may begin a track; others can only continue one."""
    min_pose_score: float = Field(0.9, ge=0, le=1)
    """Lowest score of a pose that begins a track, as a share of `confident_score`: box score times the mean of the
    keypoint scores, each weighted by itself. A box around two people, a second box of somebody, or a stone has no
    keypoint that is certain. From halfway between `confident_score` and 1 on, the box is enough; 0: it always is."""
    patience_seconds: float = Field(2.0, ge=0)
    """Somebody hidden for longer comes back as somebody else. Who was seen for a shorter time is waited for as long as
    that, and half a second at least."""
    min_similarity: float = Field(0.5, gt=0, le=1)
    """Lowest OKS of a pose and where its person was expected; the longer hidden, the more it takes, and the more room
    the person has moved in."""
    min_box_similarity: float = Field(0.4, gt=0, le=1)
    """Lowest similarity of a box and the one that was expected, for `min_similarity_in_box` to count."""
    min_similarity_in_box: float = Field(0.35, gt=0, le=1)
    """Takes the place of `min_similarity` where the box fits, for whom nobody else is left."""
    min_color_similarity: float = Field(0.3, gt=0, le=1)
    """Lowest similarity of the colors of clothes, where they are known: who would be new, but looks like somebody
    expected close by, is that person, and who is hidden is not taken for somebody in other clothes but by the box."""
    duplicate_oks: float = Field(0.7, gt=0, le=1)
    """A pose that resembles one of a track more than this, and belongs to no track itself, is left out."""
    duplicate_iou: float = Field(0.4, gt=0, le=1)
    """So is one whose box has a lower score than one of a track, and overlaps it more than this: a second box of the
    same person, or one around two people."""


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

    def follow_boxes_of(self, other: "PointTracker") -> None:
        """Follow the same people as another, by the corners of their boxes."""
        self.motion = Motion.start(self.nobody)
        self.motion.add(other.motion.boxes)
        self.ids, self._next_id, self._seconds = other.ids.copy(), other._next_id, other._seconds
        self._first_seen, self._last_seen = other._first_seen.copy(), other._last_seen.copy()
        self.is_recent = other.is_recent.copy()

    @property
    def nobody(self) -> Observation:
        """What a frame without people shows."""
        num_points = len(self._sigmas)
        empty = np.empty((0, 2, 3))
        return Observation(np.empty((0, num_points, 2)), np.empty((0, num_points)), empty[..., :2], empty)

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
        colors_fit = color_similarity(self.motion, seen)
        in_other_clothes = ~self.is_recent[:, None] & (colors_fit < settings.min_color_similarity)
        fit = fit_to_predicted(self.motion, seen, self._sigmas)
        box_fit = fit_to_predicted(self.motion.boxes, seen.boxes, BOX_SIGMAS)
        pairs = associate_rest(
            associate(
                np.where(in_other_clothes, 0.0, fit),
                is_confident=is_confident,
                is_recent=self.is_recent,
                min_fit=settings.min_similarity,
            ),
            box_fit,
            is_possible=(box_fit >= settings.min_box_similarity)
            & (fit >= settings.min_similarity_in_box)
            & is_confident,
        )
        ids = np.zeros(len(scores), int)
        ids[pairs.seen] = self.ids[pairs.tracks]
        is_new = np.isin(np.arange(len(scores)), self._find_new(seen, ids, scores))
        near = nearness(self.motion, seen)
        in_same_clothes = colors_fit >= settings.min_color_similarity
        pairs = associate_rest(pairs, colors_fit * near, is_possible=is_new & in_same_clothes)
        ids[pairs.seen] = self.ids[pairs.tracks]
        self.motion.correct(pairs.tracks, seen.take(pairs.seen), boxes_are_measured=boxes_are_measured)
        self._last_seen[pairs.tracks] = seconds
        self.is_recent[:] = False
        self.is_recent[pairs.tracks] = True
        self._begin_tracks(seen, ids, scores)
        (known,) = np.nonzero(ids)
        rows = np.searchsorted(self.ids, ids[known])
        self.motion.remember_colors(rows, seen.take(known))
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

    def _find_new(
        self, seen: Observation, ids: Int[np.ndarray, " N"], scores: Float[np.ndarray, " N"]
    ) -> Int[np.ndarray, " M"]:
        """The confident ones that have no id, and are nobody who has."""
        settings = self._settings
        confident = settings.confident_score
        pose_scores = scores * (seen.weights**2).sum(-1) / seen.weights.sum(-1).clip(min=np.finfo(float).tiny)
        is_somebody = (pose_scores >= settings.min_pose_score * confident) | (scores >= (confident + 1) / 2)
        (new,) = np.nonzero((scores >= confident) & is_somebody & (ids == 0))
        (known,) = np.nonzero(ids)
        if len(new) and len(known):
            is_same = observed_similarity(seen.take(new), seen.take(known), self._sigmas) > settings.duplicate_oks
            overlap = iou(seen.corners[new].reshape(-1, 1, 4), seen.corners[known].reshape(-1, 4))
            is_same |= (overlap > settings.duplicate_iou) & (scores[new][:, None] < scores[known])
            new = new[~is_same.any(1)]
        return new

    def _begin_tracks(self, seen: Observation, ids: Int[np.ndarray, " N"], scores: Float[np.ndarray, " N"]) -> None:
        """Give new ids to those that are new."""
        new = self._find_new(seen, ids, scores)
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
    return Observation(corners, np.ones(corners.shape[:2]), corners, np.full((len(corners), 2, 3), np.nan))


def observe_poses(poses: Sequence[Pose]) -> Observation:
    """Poses of one skeleton, at least one, whose keypoints are the points."""
    points = np.stack([pose.keypoints_image for pose in poses])
    scores = np.stack([pose.keypoint_scores for pose in poses])
    is_seen = (scores >= _MIN_KEYPOINT_SCORE) & np.isfinite(points).all(-1)
    corners = to_xyxy([pose.box for pose in poses]).reshape(-1, 2, 2)
    colors = np.stack([np.full((2, 3), np.nan) if pose.colors is None else pose.colors for pose in poses])
    return Observation(np.nan_to_num(points), np.where(is_seen, scores, 0.0), corners, colors)


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
    Who would be new, near to where somebody else is expected, is that person if the colors of the clothes say so.
    It sees the poses with these colors, their boxes and times alone, so that the same results give the same ids.
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

        Poses that resemble somebody else's are left out, and so are those that continue no track and may begin none.

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

    def track_boxes(self, frame: FrameInfo) -> "BoxTracker":
        """Follow the boxes of the people of the latest frame, from the next one on, before poses are known there."""
        self._begin_frame(frame)
        points = PointTracker(BOX_SIGMAS, self._settings)
        if self._points is not None:
            points.follow_boxes_of(self._points)
        return BoxTracker(points)

    def _begin_frame(self, frame: FrameInfo | float) -> float:
        """Begin anew where the frame does not follow the last one; its time."""
        video, seconds = (frame.video, frame.seconds) if isinstance(frame, FrameInfo) else (None, float(frame))
        if video is not self._video or seconds < self._seconds:
            self._points = None
            self._box_scores = {}
        self._video, self._seconds = video, seconds
        return seconds


class BoxTracker:
    """Says which doubtful detections may be somebody who is followed, so that the network need not look at all.

    It knows boxes alone, so that people of several frames can be estimated at once.
    """

    def __init__(self, points: PointTracker) -> None:
        """Go on from where a tracker of boxes is, which this one changes."""
        self._points = points

    def end_tracks(self) -> None:
        """Follow nobody any longer, as after a cut."""
        self._points.end_tracks()

    def choose(
        self, confident: Sequence[Detection], doubtful: Sequence[Detection], frame: FrameInfo
    ) -> list[Detection]:
        """The doubtful detections of the next frame that are where somebody should be, and no confident one is."""
        detections = [*confident, *doubtful]
        ids = self._points.update(
            observe_boxes([detection.box for detection in detections]),
            np.array([detection.score for detection in detections]),
            frame.seconds,
            frame.video.size,
        )
        return [detection for detection, box_id in zip(doubtful, ids[len(confident) :], strict=True) if box_id]


def _is_inside(box: Box, frame: FrameInfo) -> bool:
    try:
        check_box(box, frame.video.size)
    except MspnError:
        return False
    return True


_CUT_SIZE = (48, 27)
"""Width and height that frames are compared at."""
_MAX_CORRELATION = 0.5
"""Of two frames of one shot it is higher, also where the camera pans or a light flashes."""
_MIN_CHANGE = 10.0
"""Mean change of a value from 0 to 255; the noise of dark frames correlates with nothing, and is smaller."""


class CutDetector:
    """Compares each frame of a video with the one before."""

    def __init__(self) -> None:
        self._before: Float[np.ndarray, "27 48 3"] | None = None

    def is_cut(self, pixels: UInt8[np.ndarray, "H W 3"]) -> bool:
        """Whether the next frame shows another shot than the one before; False for the first frame."""
        small = cv2.resize(pixels, _CUT_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._before = self._before, small
        if before is None or np.abs(small - before).mean() < _MIN_CHANGE:
            return False
        return _correlation(small, before) < _MAX_CORRELATION


def _correlation(first: Float[np.ndarray, "*size 3"], second: Float[np.ndarray, "*size 3"]) -> float:
    """Pearson's, over all pixels and colors; 0 where one of the two has the same color everywhere."""
    deviations = [frame - frame.mean((0, 1)) for frame in (first, second)]
    spread = np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum())
    return float((deviations[0] * deviations[1]).sum() / spread) if spread else 0.0
