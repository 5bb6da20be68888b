"""Smoothing of a person's whole track: mistakes mended, noise removed without lag, short gaps filled."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from mspn.structures.settings import Settings
from mspn.structures.skeleton import Skeleton
from mspn.tracking.kalman_smoother import smooth_points
from mspn.tracking.mending import find_leaps, find_swaps
from mspn.tracking.tracks import Track, VideoTracks, median_of_seen

_REFERENCE_PERCENTILE = 75
"""Of a track's scores, that others are compared with: networks differ in how high their scores are."""
_MIN_NOISE = 0.002
"""As a share of the person's size."""
_MAX_ROUNDS = 4


class SmoothingSettings(Settings):
    """What is mended and filled."""

    max_gap_seconds: float = Field(0.5, ge=0)
    """A keypoint that is missing for longer stays missing."""
    min_score: float = Field(0.25, ge=0, le=1)
    """Keypoints with less of the track's usual score count as missing."""
    max_leap_seconds: float = Field(0.4, ge=0)
    """A keypoint that leaps away and back within this time was mistaken."""
    max_deviations: float = Field(5.0, gt=0)
    """A keypoint that is farther from its smooth path, in standard deviations of the noise, was mistaken."""


SMOOTHING_DEFAULTS = SmoothingSettings()


def smooth_tracks(video: VideoTracks, settings: SmoothingSettings = SMOOTHING_DEFAULTS) -> VideoTracks:
    """The same video with every track smoothed; tracks of which nothing is left are dropped.

    >>> import mspn
    >>> from mspn.structures.skeleton import COCO_17
    >>> from mspn.tracking.tracks import Track, VideoTracks
    >>> frames, keypoints = np.arange(3), np.ones((3, 17, 2)) * [[[10.0]], [[11.0]], [[12.0]]]
    >>> track = Track(7, frames, frames / 30, keypoints, np.ones((3, 17)), np.zeros((3, 17), bool))
    >>> video = VideoTracks("walk.mp4", COCO_17, frames, frames / 30, (track,))
    >>> mspn.smooth_tracks(video).tracks[0].keypoints[1, 0].round(2).tolist()
    [11.0, 11.0]
    """
    smoothed = [smooth_track(video.fill_in_frames(track), video.skeleton, settings) for track in video.tracks]
    return replace(video, tracks=tuple(track for track in smoothed if len(track.frames)))


def smooth_track(track: Track, skeleton: Skeleton, settings: SmoothingSettings = SMOOTHING_DEFAULTS) -> Track:
    """Smooth one person's keypoints without lag.

    Left and right are put back where the network swapped them; keypoints with low scores, leaps away and back, and
    what is far from its smooth path are left out. The rest is smoothed by `smooth_points`, with scores as weights.
    Gaps of a keypoint are filled if they are short, and marked; longer ones stay open, as do those at either end.

    Args:
        track: may have frames without keypoints, in which gaps are filled.
        skeleton: of its keypoints.
        settings: what is mended and filled.

    Returns:
        The track without the frames in which no keypoint is left. Filled keypoints have the score that the network
        gave to what was left out, 0 where it said nothing.
    """
    size_px = track.size_px
    if not np.isfinite(size_px):
        return track.select_frames(np.zeros(len(track.frames), bool))
    weights = _weigh(track, settings.min_score)
    keypoints, scores, weights = _mend_swaps(track, weights, skeleton, size_px)
    seen = np.where(weights[..., None] > 0, keypoints, np.nan)
    relative = seen - median_of_seen(seen)  # to the person, who may move
    for index in range(keypoints.shape[1]):
        weights[find_leaps(relative[:, index], track.seconds, size_px, settings.max_leap_seconds), index] = 0
    for _ in range(_MAX_ROUNDS):
        smoothed, noise_px = smooth_points(keypoints, weights, track.seconds)
        distances = np.hypot(*np.moveaxis(keypoints - smoothed, -1, 0)) * weights
        is_mistaken = distances > settings.max_deviations * np.maximum(noise_px, _MIN_NOISE * size_px)
        if not is_mistaken.any():
            break
        weights[is_mistaken] = 0
    else:
        smoothed, _ = smooth_points(keypoints, weights, track.seconds)
    is_seen = weights > 0
    is_known = is_seen | _in_short_gaps(is_seen, track.seconds, settings.max_gap_seconds)
    kept = replace(
        track,
        keypoints=np.where(is_known[..., None], smoothed, np.nan),
        scores=np.where(is_known, scores, 0.0),
        filled=is_known & ~is_seen,
    )
    return kept.select_frames(is_known.any(1))


def _weigh(track: Track, min_score: float) -> Float[np.ndarray, "F K"]:
    """Scores compared to the track's usual one; 0 for what counts as missing."""
    is_there = np.isfinite(track.keypoints).all(-1) & (track.scores > 0) & ~track.filled
    if not is_there.any():
        return np.zeros(track.scores.shape)
    weights = track.scores / np.percentile(track.scores[is_there], _REFERENCE_PERCENTILE)
    return np.where(is_there & (weights >= min_score), weights, 0.0)


def _mend_swaps(
    track: Track, weights: Float[np.ndarray, "F K"], skeleton: Skeleton, size_px: float
) -> tuple[Float[np.ndarray, "F K 2"], Float[np.ndarray, "F K"], Float[np.ndarray, "F K"]]:
    """Keypoints, scores and weights with left and right in their places."""
    keypoints, scores, weights = track.keypoints.copy(), track.scores.copy(), weights.copy()
    seen = np.where(weights[..., None] > 0, keypoints, np.nan)
    for left, right in skeleton.pair_indices:
        swapped = find_swaps(seen[:, left], seen[:, right], track.seconds, size_px)
        for values in (keypoints, scores, weights):
            values[swapped, left], values[swapped, right] = values[swapped, right], values[swapped, left]
    return keypoints, scores, weights


def _in_short_gaps(
    is_seen: Bool[np.ndarray, "F K"], seconds: Float[np.ndarray, " F"], max_seconds: float
) -> Bool[np.ndarray, "F K"]:
    """Whether the frames before and after, in which a keypoint is seen, are near enough to fill what is between."""
    before = np.maximum.accumulate(np.where(is_seen, seconds[:, None], -np.inf), axis=0)
    after = np.minimum.accumulate(np.where(is_seen, seconds[:, None], np.inf)[::-1], axis=0)[::-1]
    return after - before <= max_seconds
