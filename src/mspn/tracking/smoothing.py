"""Smoothing of a person's whole track: mistakes mended, noise removed without lag, short gaps filled.

Mistakes are those that motion gives away: left and right swapped, keypoints that leap away and back. Noise is
removed after the fact: by a Kalman filter forward, and the RTS smoother back.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from pydantic import Field

from mspn.structures.settings import Settings
from mspn.structures.shapes import Bool, Float
from mspn.structures.skeleton import Skeleton
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


_MAX_GAP_SECONDS = 0.5
"""After a longer one, motion does not tell how a pair goes on."""
_MIN_DEVIATION = 0.005
"""Of a prediction, as a share of the person's size."""
_MAX_COST = 20.0
"""Of one frame, so that a single leap does not outweigh everything."""
_SWITCH_COST, _SWAPPED_COST = 6.0, 0.15
"""Negative logarithms: a network rarely begins or ends to swap a pair, and mostly does not."""
_MIN_LEAP, _MIN_LEAP_SPEED = 0.05, 1.0
"""A leap is longer than this share of the person's size, and so many sizes a second."""
_LEAP_TO_STEP = 2.0
"""And than so many times the step before it, or after the leap back: a fast hand gains speed and loses it."""


def find_swaps(
    left: Float[np.ndarray, "F 2"], right: Float[np.ndarray, "F 2"], seconds: Float[np.ndarray, " F"], size_px: float
) -> Bool[np.ndarray, " F"]:
    """In which frames the two keypoints of a pair have each other's places.

    Of all ways to swap them back, the likeliest is the one in which both go on as they moved in the two frames before
    (the Viterbi algorithm). Legs that cross on the image do not swap: they keep their velocities.

    Args:
        left: (x, y) in pixels in F frames; NaN where it is missing.
        right: as left.
        seconds: of the frames, rising.
        size_px: of the person.
    """
    swapped = np.zeros(len(seconds), bool)
    is_seen = np.isfinite(left).all(-1) & np.isfinite(right).all(-1)
    if is_seen.sum() > 2:
        pairs = np.stack([left[is_seen], right[is_seen]], axis=1)
        swapped[is_seen] = _likeliest_swaps(_continuation_costs(pairs, seconds[is_seen], size_px))
    return swapped


def _continuation_costs(
    pairs: Float[np.ndarray, "n 2 2"], seconds: Float[np.ndarray, " n"], size_px: float
) -> Float[np.ndarray, "n 2 2"]:
    """Cost of each frame from the third on, by whether the pair is swapped between the two frames before, and since."""
    elapsed = np.diff(seconds)
    ratio = (elapsed[1:] / elapsed[:-1])[:, None, None]
    distances = np.empty((len(pairs) - 2, 2, 2))
    for before in (0, 1):
        for since in (0, 1):
            first, second, third = pairs[:-2, :: 1 - 2 * before], pairs[1:-1], pairs[2:, :: 1 - 2 * since]
            predicted = second + ratio * (second - first)
            distances[:, before, since] = ((third - predicted) ** 2).sum((-1, -2))
    # The sum of four squares of a normal variable has the median 3.36.
    variance = max(float(np.median(distances[:, 0, 0])) / 3.36, (_MIN_DEVIATION * size_px) ** 2)
    costs = np.zeros((len(pairs), 2, 2))
    is_near = np.maximum(elapsed[1:], elapsed[:-1]) <= _MAX_GAP_SECONDS
    costs[2:][is_near] = np.minimum(distances[is_near] / (2 * variance), _MAX_COST)
    return costs


def _likeliest_swaps(costs: Float[np.ndarray, "n 2 2"]) -> Bool[np.ndarray, " n"]:
    """The cheapest sequence of swapped (1) and not swapped (0)."""
    states = (0, 1)
    totals = [[last * _SWAPPED_COST + (before != last) * _SWITCH_COST for last in states] for before in states]
    choices = []
    for cost in costs[2:].tolist():
        following, choice = [[0.0, 0.0], [0.0, 0.0]], [[0, 0], [0, 0]]
        for last in states:
            for new in states:
                ways = [totals[before][last] + cost[before ^ last][last ^ new] for before in states]
                choice[last][new] = int(ways[1] < ways[0])
                following[last][new] = min(ways) + new * _SWAPPED_COST + (last != new) * _SWITCH_COST
        totals = following
        choices.append(choice)
    before, last = min(
        ((before, last) for before in states for last in states), key=lambda pair: totals[pair[0]][pair[1]]
    )
    path = [last, before]
    for choice in reversed(choices):
        before, last = choice[before][last], before
        path.append(before)
    return np.array(path[::-1], bool)


def find_leaps(
    points: Float[np.ndarray, "F 2"], seconds: Float[np.ndarray, " F"], size_px: float, max_seconds: float
) -> Bool[np.ndarray, " F"]:
    """In which frames a keypoint is elsewhere, having leapt away, and back within a time.

    Args:
        points: (x, y) in pixels in F frames; NaN where it is missing.
        seconds: of the frames, rising.
        size_px: of the person.
        max_seconds: from the last frame before the leap to the first after it.
    """
    is_seen = np.isfinite(points).all(-1)
    seen, times = points[is_seen], seconds[is_seen]
    steps = np.hypot(*np.diff(seen, axis=0).T)
    shortest = (_MIN_LEAP + _MIN_LEAP_SPEED * np.diff(times)) * size_px
    is_away = steps > shortest + _LEAP_TO_STEP * np.concatenate([[0], steps])[:-1]
    is_back = steps > shortest + _LEAP_TO_STEP * np.concatenate([steps, [0]])[1:]
    changes = np.zeros(len(seen) + 1, int)
    nearest = np.full(len(steps), np.inf)  # to where the keypoint was before, of the frames elsewhere
    for length in range(1, len(seen) - 1):  # number of frames elsewhere
        duration = times[length + 1 :] - times[: -length - 1]
        if duration.min() > max_seconds:
            break
        nearest = np.minimum(nearest[: len(seen) - length], np.hypot(*(seen[length:] - seen[:-length]).T))
        remaining = np.hypot(*(seen[length + 1 :] - seen[: -length - 1]).T)
        is_mistaken = is_away[:-length] & is_back[length:] & (duration <= max_seconds) & (remaining < nearest[:-1] / 2)
        starts = np.flatnonzero(is_mistaken) + 1
        np.add.at(changes, starts, 1)
        np.add.at(changes, starts + length, -1)
    leaps = np.zeros(len(points), bool)
    leaps[is_seen] = np.cumsum(changes)[:-1] > 0
    return leaps


_RATIOS = np.geomspace(1e3, 1e6, 7)
"""Of acceleration to measurement noise, in 1/s^3, of which each keypoint takes the likeliest. The lowest lets 2 Hz pass
at 30 frames a second: the hips of a walker go up and down as fast, and less than the noise of a poor network."""
_LOG_RATIO, _LOG_RATIO_DEVIATION = np.log(3000.0), np.log(30.0)
"""What is expected before anything is seen; it decides where little is seen."""
_FIRST_POSITION_VARIANCE, _FIRST_SPEED_VARIANCE = 1e8, 1e8
"""Of what is not known yet, where the variance of a measurement is 1."""
_MIN_NOISE_PX = 1e-3
_NUM_FIRST_MEASUREMENTS = 2
"""They make the first position and velocity, and predict nothing."""


class SmoothedPoints(NamedTuple):
    """What the smoother says of K points in F frames."""

    points: Float[np.ndarray, "F K 2"]
    """In pixels, also in gaps; NaN for a point that was never measured."""
    noise_px: Float[np.ndarray, " K"]
    """Estimated standard deviation of a measurement of weight 1, along x and along y; NaN where fewer than three
    measurements were made."""


class _Belief(NamedTuple):
    """Mean of position and velocity, and their covariance, which is the same along x and y."""

    mean: Float[np.ndarray, "2 *points 2"]
    position_variance: Float[np.ndarray, " *points"]
    covariance: Float[np.ndarray, " *points"]
    speed_variance: Float[np.ndarray, " *points"]


class _Step(NamedTuple):
    """The filter's belief at a frame, before and after it sees the frame's points."""

    predicted: _Belief
    filtered: _Belief


def smooth_points(
    points: Float[np.ndarray, "F K 2"], weights: Float[np.ndarray, "F K"], seconds: Float[np.ndarray, " F"]
) -> SmoothedPoints:
    """Smooth points whose velocity changes at random.

    How fast it changes, compared to the noise, is the likeliest for each point: a keypoint that rests is smoothed
    strongly, one that moves fast or is seen sharply hardly.

    Args:
        points: (x, y) in pixels; those of weight 0 may be anything.
        weights: of each measurement, whose standard deviation is inverse to it; 0 if there is none.
        seconds: of the F frames, rising, at least one.

    Source: Kalman 1960; Rauch, Tung and Striebel 1965.
    """
    is_measured: Bool[np.ndarray, "F K"] = np.asarray(weights > 0)
    points = np.where(is_measured[..., None], points, 0.0)
    variances = np.full(weights.shape, np.inf)
    variances[is_measured] = 1 / weights[is_measured] ** 2
    ratios, noise_px = _estimate_motion(points, variances, is_measured, seconds)
    steps = list(_filter_forward(points, variances, seconds, ratios))
    smoothed = _smooth_back(steps, seconds)
    return SmoothedPoints(np.where(is_measured.sum(0)[:, None] > 0, smoothed, np.nan), noise_px)


def _estimate_motion(
    points: Float[np.ndarray, "F K 2"],
    variances: Float[np.ndarray, "F K"],
    is_measured: Bool[np.ndarray, "F K"],
    seconds: Float[np.ndarray, " F"],
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """The likeliest of `_RATIOS` for each point, and the noise of its measurements.

    The variance of the noise that is likeliest for a ratio is the mean square of what the filter did not predict.
    """
    is_predicted = is_measured & (np.cumsum(is_measured, axis=0) > _NUM_FIRST_MEASUREMENTS)
    squares = np.zeros((len(_RATIOS), points.shape[1]))
    log_spreads = np.zeros_like(squares)
    for frame, step in enumerate(_filter_forward(points, variances, seconds, _RATIOS[:, None])):
        spread = step.predicted.position_variance + variances[frame]
        surprise = ((points[frame] - step.predicted.mean[0]) ** 2).sum(-1) / spread
        squares += np.where(is_predicted[frame], surprise, 0.0)
        log_spreads += np.where(is_predicted[frame], np.log(spread), 0.0)
    counts = 2 * is_predicted.sum(0)
    noise_variances = np.maximum(squares / np.maximum(counts, 1), _MIN_NOISE_PX**2)
    unexpected = ((np.log(_RATIOS) - _LOG_RATIO) / _LOG_RATIO_DEVIATION) ** 2
    best = (counts * np.log(noise_variances) + 2 * log_spreads + unexpected[:, None]).argmin(0)
    noise_px = np.sqrt(noise_variances[best, np.arange(points.shape[1])])
    return _RATIOS[best], np.where(counts > 0, noise_px, np.nan)


def _filter_forward(
    points: Float[np.ndarray, "F K 2"],
    variances: Float[np.ndarray, "F K"],
    seconds: Float[np.ndarray, " F"],
    ratios: Float[np.ndarray, "*any K"],
) -> Iterator[_Step]:
    """The Kalman filter's steps over all frames, for one or several ratios a point."""
    shape = np.broadcast_shapes(ratios.shape, points.shape[1:2])
    unknown = np.ones(shape)
    belief = _Belief(
        np.zeros((2, *shape, 2)), _FIRST_POSITION_VARIANCE * unknown, 0 * unknown, _FIRST_SPEED_VARIANCE * unknown
    )
    belief.mean[0] = points[np.isfinite(variances).argmax(0), np.arange(points.shape[1])]  # the first measurement
    for frame, elapsed in enumerate(np.diff(seconds, prepend=seconds[0])):
        predicted = _predict(belief, elapsed, ratios)
        belief = _correct(predicted, points[frame], variances[frame])
        yield _Step(predicted, belief)


def _predict(belief: _Belief, elapsed: float, ratios: Float[np.ndarray, "*any K"]) -> _Belief:
    mean, position, mixed, speed = belief
    return _Belief(
        np.stack([mean[0] + elapsed * mean[1], mean[1]]),
        position + 2 * elapsed * mixed + elapsed**2 * speed + ratios * elapsed**3 / 3,
        mixed + elapsed * speed + ratios * elapsed**2 / 2,
        speed + ratios * elapsed,
    )


def _correct(predicted: _Belief, points: Float[np.ndarray, "K 2"], variances: Float[np.ndarray, " K"]) -> _Belief:
    mean, position, mixed, speed = predicted
    gain, speed_gain = position / (position + variances), mixed / (position + variances)
    surprise = points - mean[0]
    return _Belief(
        mean + np.stack([gain[..., None] * surprise, speed_gain[..., None] * surprise]),
        position - gain * position,
        mixed - gain * mixed,
        speed - speed_gain * mixed,
    )


def _smooth_back(steps: list[_Step], seconds: Float[np.ndarray, " F"]) -> Float[np.ndarray, "F K 2"]:
    """Positions that know the frames after them too."""
    mean = steps[-1].filtered.mean
    positions = [mean[0]]
    for frame in range(len(steps) - 2, -1, -1):
        elapsed = seconds[frame + 1] - seconds[frame]
        (mean_before, position, mixed, speed), following = steps[frame].filtered, steps[frame + 1].predicted
        _, after_position, after_mixed, after_speed = following
        determinant = after_position * after_speed - after_mixed**2
        shift = mean - following.mean
        corrections = []
        for to_position, to_speed in ((position + elapsed * mixed, mixed), (mixed + elapsed * speed, speed)):
            position_gain = (to_position * after_speed - to_speed * after_mixed) / determinant
            speed_gain = (to_speed * after_position - to_position * after_mixed) / determinant
            corrections.append(position_gain[..., None] * shift[0] + speed_gain[..., None] * shift[1])
        mean = mean_before + np.stack(corrections)
        positions.append(mean[0])
    return np.stack(positions[::-1])
