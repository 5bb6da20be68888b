"""How well people are followed: HOTA, IDF1 and MOTA, for boxes and poses alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

_HOTA_THRESHOLDS = np.arange(1, 20) * 0.05
_THRESHOLD = 0.5
"""Lowest similarity of a right detection, for IDF1 and MOTA."""
_ROUNDING = np.finfo(float).eps
_KEEP_TRACK = 1000.0
"""Value of a pair that was one before, more than any similarity."""


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame's labeled people, the tracks found in it, and how similar they are; ids are unique in all frames."""

    label_ids: Int[np.ndarray, " G"]
    track_ids: Int[np.ndarray, " T"]
    similarity: Float[np.ndarray, "G T"]
    """IoU or OKS, 0 to 1."""


class TrackingScores(NamedTuple):
    """What a set of videos comes to, all frames together."""

    hota: float
    """Geometric mean of detection and association, averaged over thresholds of similarity."""
    detection: float
    """DetA: right detections among all that were labeled or found."""
    association: float
    """AssA: for each right detection, how far its two tracks are the same."""
    idf1: float
    """Share of detections with the right id, where every labeled person has one track at most."""
    mota: float
    """1 less the misses, false detections and id switches for each labeled person; may be negative."""
    num_switches: int
    """How often a labeled person goes on with another id."""
    num_labels: int
    num_found: int


def measure_tracking(frames: Sequence[TrackedFrame]) -> TrackingScores:
    """The scores of frames in the order of time; several videos one after another, with different ids.

    Without any labels and detections, all shares are 0.

    Sources: Luiten et al., HOTA, IJCV 2020; Ristani et al. 2016 (IDF1); Bernardin and Stiefelhagen 2008 (MOTA).
    """
    numbered = _number_ids(frames)
    hota, detection, association = _measure_hota(numbered)
    mota, num_switches = _measure_mota(numbered)
    return TrackingScores(
        hota,
        detection,
        association,
        _measure_idf1(numbered),
        mota,
        num_switches,
        int(numbered.label_counts.sum()),
        int(numbered.track_counts.sum()),
    )


class _Numbered(NamedTuple):
    """Frames whose ids are numbers from 0 on, and in how many frames each is."""

    frames: list[TrackedFrame]
    label_counts: Int[np.ndarray, " L"]
    track_counts: Int[np.ndarray, " M"]


def _number_ids(frames: Sequence[TrackedFrame]) -> _Numbered:
    nothing = np.empty(0, int)
    _, labels, label_counts = np.unique(
        np.concatenate([nothing, *(frame.label_ids for frame in frames)]), return_inverse=True, return_counts=True
    )
    _, tracks, track_counts = np.unique(
        np.concatenate([nothing, *(frame.track_ids for frame in frames)]), return_inverse=True, return_counts=True
    )
    label_ends = np.cumsum([len(frame.label_ids) for frame in frames])
    track_ends = np.cumsum([len(frame.track_ids) for frame in frames])
    numbered = [
        TrackedFrame(
            labels[label_end - len(frame.label_ids) : label_end],
            tracks[track_end - len(frame.track_ids) : track_end],
            frame.similarity,
        )
        for frame, label_end, track_end in zip(frames, label_ends, track_ends, strict=True)
    ]
    return _Numbered(numbered, label_counts, track_counts)


def _measure_hota(numbered: _Numbered) -> tuple[float, float, float]:
    labels, tracks = numbered.label_counts, numbered.track_counts
    shared = np.zeros((len(labels), len(tracks)))
    for frame in numbered.frames:
        similarity = frame.similarity
        union = similarity.sum(0, keepdims=True) + similarity.sum(1, keepdims=True) - similarity
        shared[np.ix_(frame.label_ids, frame.track_ids)] += np.where(
            union > _ROUNDING, similarity / np.maximum(union, _ROUNDING), 0.0
        )
    alignment = shared / np.maximum(labels[:, None] + tracks - shared, _ROUNDING)
    pairs_of_frames: list[Int[np.ndarray, " M"]] = [np.empty(0, int)]  # label and track as one number
    right_of_frames = [np.empty((len(_HOTA_THRESHOLDS), 0), bool)]
    for frame in numbered.frames:
        pairs = np.ix_(frame.label_ids, frame.track_ids)
        rows, columns = _assign(alignment[pairs] * frame.similarity)
        pairs_of_frames.append(frame.label_ids[rows] * len(tracks) + frame.track_ids[columns])
        right_of_frames.append(frame.similarity[rows, columns] >= _HOTA_THRESHOLDS[:, None] - _ROUNDING)
    # Of all pairs of many videos, few are ever in one frame.
    met, numbers = np.unique(np.concatenate(pairs_of_frames), return_inverse=True)
    matches = np.stack([np.bincount(numbers[is_right], minlength=len(met)) for is_right in np.hstack(right_of_frames)])
    num_right = matches.sum(1)
    num_any = labels.sum() + tracks.sum() - num_right
    detection = num_right / np.maximum(num_any, 1)
    jaccard = matches / (labels[met // len(tracks)] + tracks[met % len(tracks)] - matches)
    association = (matches * jaccard).sum(1) / np.maximum(num_right, 1)
    return float(np.sqrt(detection * association).mean()), float(detection.mean()), float(association.mean())


def _measure_idf1(numbered: _Numbered) -> float:
    labels, tracks = numbered.label_counts, numbered.track_counts
    shared = np.zeros((len(labels), len(tracks)))
    for frame in numbered.frames:
        shared[np.ix_(frame.label_ids, frame.track_ids)] += frame.similarity >= _THRESHOLD
    # Frames with the right id number 2 of all labels and detections; the assignment makes them as many as can be.
    right = shared[_assign(shared)].sum()
    return float(2 * right / max(labels.sum() + tracks.sum(), 1))


def _measure_mota(numbered: _Numbered) -> tuple[float, int]:
    """MOTA, and the number of switches."""
    num_labels = int(numbered.label_counts.sum())
    last_tracks = np.full(len(numbered.label_counts), -1)
    """The latest track of each labeled person."""
    tracks_before = last_tracks.copy()
    """Its track in the frame before, if it had one."""
    num_right = num_switches = 0
    for frame in numbered.frames:
        continues = tracks_before[frame.label_ids][:, None] == frame.track_ids
        value = np.where(frame.similarity >= _THRESHOLD - _ROUNDING, _KEEP_TRACK * continues + frame.similarity, 0.0)
        rows, columns = _assign(value)
        is_right = value[rows, columns] > 0
        people, tracks = frame.label_ids[rows[is_right]], frame.track_ids[columns[is_right]]
        num_right += len(people)
        num_switches += int(((last_tracks[people] >= 0) & (last_tracks[people] != tracks)).sum())
        last_tracks[people] = tracks
        tracks_before[:] = -1
        tracks_before[people] = tracks
    num_false = int(numbered.track_counts.sum()) - num_right
    return (num_right - num_false - num_switches) / max(num_labels, 1), num_switches


def _assign(value: Float[np.ndarray, "R C"]) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, " M"]]:
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  # a second of imports, for tracks alone

    rows, columns = linear_sum_assignment(value, maximize=True)
    return rows, columns
