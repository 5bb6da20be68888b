"""What the people of a video do over time: the keypoints of each, frame by frame."""

from dataclasses import dataclass, replace

import numpy as np

from mspn.structures.shapes import Bool, Float, Int
from mspn.structures.skeleton import Skeleton

_MIN_SIZE_PX = 1.0


@dataclass(frozen=True, eq=False)
class Track:
    """One person's keypoints in F frames of a video, in the order of time; frames without the person are left out."""

    track_id: int
    frames: Int[np.ndarray, " F"]
    """Numbers in the video, from 0 on, each once."""
    seconds: Float[np.ndarray, " F"]
    """Time stamps in the video; they rise, at any rate."""
    keypoints: Float[np.ndarray, "F K 2"]
    """(x, y) in image pixels; NaN where a keypoint is missing."""
    scores: Float[np.ndarray, "F K"]
    """Of the network, 0 to 1; 0 where it said nothing."""
    filled: Bool[np.ndarray, "F K"]
    """Whether a keypoint was not seen but put into a gap by smoothing."""

    @property
    def size_px(self) -> float:
        """The person's size: the median of those in all frames, see `person_sizes`; NaN if there is no keypoint."""
        sizes = person_sizes(self.keypoints)
        return float(np.nanmedian(sizes)) if np.isfinite(sizes).any() else float("nan")

    def __contains__(self, frame: int) -> bool:
        """Whether the person has keypoints in the frame of that number."""
        row = int(np.searchsorted(self.frames, frame))
        return row < len(self.frames) and bool(self.frames[row] == frame)

    def select_frames(self, chosen: Bool[np.ndarray, " F"]) -> "Track":
        """The same person in some of the frames."""
        return replace(
            self,
            frames=self.frames[chosen],
            seconds=self.seconds[chosen],
            keypoints=self.keypoints[chosen],
            scores=self.scores[chosen],
            filled=self.filled[chosen],
        )


@dataclass(frozen=True, eq=False)
class VideoTracks:
    """The tracks of all people in one video."""

    source: str
    """Path or address of the video as it was predicted; empty if unknown."""
    skeleton: Skeleton
    """Of the keypoints."""
    frames: Int[np.ndarray, " N"]
    """Numbers of all frames, also of those without people, rising."""
    seconds: Float[np.ndarray, " N"]
    """Their time stamps."""
    tracks: tuple[Track, ...]
    """In the order of their ids."""

    @property
    def frame_rate(self) -> float | None:
        """Mean number of frames a second; None of a single frame."""
        if len(self.frames) == 1:
            return None
        return float((self.frames[-1] - self.frames[0]) / (self.seconds[-1] - self.seconds[0]))

    def fill_in_frames(self, track: Track) -> Track:
        """A track of the video with all frames from its first to its last; the added ones have no keypoints."""
        first, end = np.searchsorted(self.frames, (track.frames[0], track.frames[-1] + 1))
        frames, seconds = self.frames[first:end], self.seconds[first:end]
        rows = np.searchsorted(frames, track.frames)
        keypoints = np.full((len(frames), *track.keypoints.shape[1:]), np.nan)
        scores, filled = np.zeros(keypoints.shape[:2]), np.zeros(keypoints.shape[:2], bool)
        keypoints[rows], scores[rows], filled[rows] = track.keypoints, track.scores, track.filled
        return Track(track.track_id, frames, seconds, keypoints, scores, filled)


def person_sizes(keypoints: Float[np.ndarray, "*any K 2"]) -> Float[np.ndarray, "*any"]:
    """How large people are in pixels: the longer side of the box around all keypoints, at least 1.

    NaN keypoints do not count; the size is NaN where a person has none.
    """
    missing = np.isnan(keypoints)
    lowest = np.where(missing, np.inf, keypoints).min(-2)
    highest = np.where(missing, -np.inf, keypoints).max(-2)
    sizes = (highest - lowest).max(-1)
    return np.where(np.isfinite(sizes), np.maximum(sizes, _MIN_SIZE_PX), np.nan)


def median_of_seen(points: Float[np.ndarray, "*any K 2"]) -> Float[np.ndarray, "*any 1 2"]:
    """As NumPy's nanmedian over keypoints, which is slow: the lower one of two in the middle, NaN if there is none."""
    middle = np.maximum(np.isfinite(points).sum(-2, keepdims=True) - 1, 0) // 2
    return np.take_along_axis(np.sort(points, axis=-2), middle, axis=-2)
