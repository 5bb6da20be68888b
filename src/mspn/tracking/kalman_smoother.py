"""Smoothing of points after the fact, without lag: a Kalman filter forward, and the RTS smoother back."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

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
