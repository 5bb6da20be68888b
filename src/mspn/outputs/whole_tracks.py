"""Poses of videos that are done, smoothed over whole tracks."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from mspn.outputs.journal import JournalReader
from mspn.outputs.track_tables import rising_seconds
from mspn.predict.pipeline import ImageResult
from mspn.structures.image import Image
from mspn.structures.pose import Pose
from mspn.structures.skeleton import Skeleton
from mspn.tracking.smoothing import smooth_tracks
from mspn.tracking.tracks import Track, VideoTracks


class SmoothedPoses:
    """The poses of a run's images; those of people in videos are smoothed by `smooth_tracks`.

    Keypoints that smoothing leaves out stay as the network gave them, and nobody is put into frames without them. One
    video's poses are in memory at a time.
    """

    def __init__(self, reader: JournalReader, unlogged: Iterable[ImageResult] = ()) -> None:
        """Smooth what a run has found.

        Args:
            reader: of the run, which has ended.
            unlogged: images and frames that its journal leaves out, since they had problems.
        """
        self._reader = reader
        self._unlogged: dict[str, list[ImageResult]] = {}
        for result in unlogged:
            self._unlogged.setdefault(result.source, []).append(result)
        self._source: str | None = None
        self._poses: dict[int | None, list[Pose]] = {}
        """Of the last source, by frame."""

    def lookup(self, image: Image) -> list[Pose] | None:
        """The poses of an image or frame; None if the run has not done it."""
        if image.source not in self._reader.done and image.source not in self._unlogged:
            return None
        if image.source != self._source:
            self._source, self._poses = image.source, self._smooth(image.source)
        return self._poses.get(image.frame.index if image.frame else None)

    def _smooth(self, source: str) -> dict[int | None, list[Pose]]:
        logged = self._reader.results_of(source) if source in self._reader.done else ()
        together = sorted([*logged, *self._unlogged.get(source, ())], key=lambda result: _frame_of(result) or 0)
        results = {_frame_of(result): result for result in together}
        tracks: dict[int | None, Track] = {
            track.track_id: track for track in _smoothed_tracks(results.values(), self._reader.skeleton)
        }
        return {
            frame: [_move(pose, tracks.get(pose.track_id), frame) for pose in result.poses]
            for frame, result in results.items()
        }


def _frame_of(result: ImageResult) -> int | None:
    return result.image.frame.index if result.image and result.image.frame else None


def _smoothed_tracks(results: Iterable[ImageResult], skeleton: Skeleton) -> tuple[Track, ...]:
    """Of a video's frames in order; none of an image."""
    frames = [result.image.frame for result in results if result.image and result.image.frame]
    people: dict[int, dict[int, Pose]] = {}
    """Poses by track id and row of the frame."""
    for row, result in enumerate(results if frames else ()):
        for pose in result.poses:
            if pose.track_id is not None:
                people.setdefault(pose.track_id, {})[row] = pose
    if not people:
        return ()
    numbers = np.array([frame.index for frame in frames])
    seconds = rising_seconds(np.array([frame.seconds for frame in frames]), frames[0].video.source)
    tracks = []
    for track_id, poses in people.items():
        rows = list(poses)
        keypoints = np.stack([pose.keypoints_image for pose in poses.values()]).astype(np.float64)
        scores = np.stack([pose.keypoint_scores for pose in poses.values()]).astype(np.float64)
        tracks.append(Track(track_id, numbers[rows], seconds[rows], keypoints, scores, np.zeros(scores.shape, bool)))
    return smooth_tracks(VideoTracks(frames[0].video.source, skeleton, numbers, seconds, tuple(tracks))).tracks


def _move(pose: Pose, track: Track | None, frame: int | None) -> Pose:
    """The pose with the keypoints that its smoothed track has in the frame."""
    if track is None or frame is None or frame not in track:
        return pose
    row = int(np.searchsorted(track.frames, frame))
    points, scores = track.keypoints[row], track.scores[row]
    is_kept = np.isfinite(points).all(-1) & ~track.filled[row]
    is_moved = np.isfinite(points).all(-1)
    return replace(
        pose,
        keypoints_image=np.where(is_moved[:, None], points, pose.keypoints_image),
        keypoint_scores=np.where(is_kept, scores, pose.keypoint_scores),
    )
