"""Smoothing of keypoints while a video runs: the One-Euro filter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from mspn.structures.settings import Settings
from mspn.structures.shapes import Float, Int
from mspn.tracking.tracks import median_of_seen, person_sizes

_MIN_SECONDS = 1e-3
"""Between frames; time stamps of live sources may repeat."""
_MIN_SCORE = 1e-6
_FIRST_NOISE, _MIN_NOISE = 0.01, 0.002
"""Shares of the person's size."""
_NOISE_CUTOFF_HZ = 0.5
_CHANGE_TO_NOISE = 1.2533 / np.sqrt(6)
"""From the mean size of second differences of noise to its standard deviation, if it is normal."""
_CLIPPED_DEVIATIONS = 6.0


class OneEuroSettings(Settings):
    """How strongly the online filter smooths; it measures the noise of each person's keypoints itself."""

    min_cutoff_hz: float = Field(2.5, gt=0)
    """Cutoff frequency at rest: lower is smoother."""
    cutoff_per_speed: float = Field(0.4, ge=0)
    """Hz for each standard deviation of the noise that a keypoint moves in a second: higher lags less."""
    rest_speed: float = Field(18.0, ge=0)
    """Standard deviations of the noise a second; what is slower counts as rest."""
    speed_cutoff_hz: float = Field(2.0, gt=0)
    """Cutoff frequency of the speed itself."""
    max_gap_seconds: float = Field(1.0, gt=0)
    """A person who was away for longer starts anew."""


ONE_EURO_DEFAULTS = OneEuroSettings()


@dataclass
class _State:
    """What the filter knows of P people."""

    seconds: Float[np.ndarray, " P"]
    seen: Float[np.ndarray, "P K 2"]
    """Keypoints of the last frame, in pixels as all that follows."""
    steps: Float[np.ndarray, "P K 2"]
    """From the frame before to the last."""
    noise: Float[np.ndarray, "P K 2"]
    """Estimated standard deviation."""
    smoothed: Float[np.ndarray, "P K 2"]
    speeds: Float[np.ndarray, "P K 2"]
    """Smoothed, relative to the motion that the person's keypoints share, in noise a second."""

    def take(self, rows: Sequence[int]) -> "_State":
        """Some of the people."""
        return _State(**{name: values[list(rows)] for name, values in vars(self).items()})

    def put(self, rows: Sequence[int], state: "_State") -> None:
        """Replace some of the people."""
        for name, values in vars(self).items():
            values[list(rows)] = getattr(state, name)

    def join(self, other: "_State") -> "_State":
        """These people and others."""
        return _State(**{name: np.concatenate([mine, getattr(other, name)]) for name, mine in vars(self).items()})


class OneEuroFilter:
    """Smooths the keypoints of all people in a video while it runs, without looking ahead.

    Each coordinate passes a low-pass filter whose cutoff frequency rises with the coordinate's speed: a keypoint at
    rest does not tremble, a fast one does not lag. Keypoints count as much as their scores, compared to the person's
    best.

    >>> import numpy as np
    >>> smoother = OneEuroFilter()
    >>> person = np.array([[[10.0, 20.0], [10.0, 120.0]]])
    >>> for frame in range(3):
    ...     smoothed = smoother.update(np.array([7]), person, np.ones((1, 2)), frame / 30)
    >>> smoothed.tolist()
    [[[10.0, 20.0], [10.0, 120.0]]]

    Source: Casiez, Roussel and Vogel, 1 Euro Filter, CHI 2012. Two differences. Speeds are relative to the motion that
    all keypoints of a person share, which is not smoothed, so that nobody who walks through the image is dragged
    behind. And they are measured in the noise of the person's keypoints, so that the same settings suit large and
    small people, good and bad networks.
    """

    def __init__(self, settings: OneEuroSettings = ONE_EURO_DEFAULTS) -> None:
        self._settings = settings
        self._rows: dict[int, int] = {}
        """Of the state, by the person's id."""
        self._state: _State | None = None

    def update(
        self,
        track_ids: Int[np.ndarray, " P"],
        keypoints: Float[np.ndarray, "P K 2"],
        scores: Float[np.ndarray, "P K"],
        seconds: float,
    ) -> Float[np.ndarray, "P K 2"]:
        """The smoothed keypoints of a frame.

        Args:
            track_ids: of the people, each once.
            keypoints: (x, y) in pixels; one that is NaN, or has the score 0, moves on with the others.
            scores: 0 or more.
            seconds: of the frame in its video. When time goes backwards, or after a long gap, people start anew.
        """
        if not len(track_ids):
            return keypoints
        state = self._begin(track_ids.tolist(), keypoints, seconds)
        rows = [self._rows[track_id] for track_id in track_ids.tolist()]
        updated = self._filter(state.take(rows), keypoints, scores, seconds)
        state.put(rows, updated)
        return updated.smoothed

    def _begin(self, track_ids: Sequence[int], keypoints: Float[np.ndarray, "P K 2"], seconds: float) -> _State:
        """Forget people who were away for long, and add those who are new."""
        known: dict[int, int] = {}
        if self._state is not None:
            away = seconds - self._state.seconds
            in_time = (away >= 0) & (away <= self._settings.max_gap_seconds)
            known = {track_id: row for track_id, row in self._rows.items() if in_time[row]}
        new = [index for index, track_id in enumerate(track_ids) if track_id not in known]
        first = keypoints[new]
        noise = _FIRST_NOISE * _sizes(first) * np.ones_like(first)
        nothing = np.zeros_like(first)
        state = _State(np.full(len(new), seconds), first, np.full_like(first, np.nan), noise, first, nothing)
        if self._state is not None:
            state = self._state.take(list(known.values())).join(state)
        self._rows = {track_id: row for row, track_id in enumerate([*known, *(track_ids[index] for index in new)])}
        self._state = state
        return state

    def _filter(
        self, state: _State, keypoints: Float[np.ndarray, "P K 2"], scores: Float[np.ndarray, "P K"], seconds: float
    ) -> _State:
        weights = _relative_scores(keypoints, scores)[..., None]
        elapsed = np.maximum(seconds - state.seconds, _MIN_SECONDS)[:, None, None]
        steps = np.where(weights > 0, keypoints - state.seen, np.nan)
        shared = _shared_motion(steps)

        change = np.abs(steps - state.steps) * _CHANGE_TO_NOISE
        noise = state.noise + _gain(_NOISE_CUTOFF_HZ, elapsed) * np.nan_to_num(change - state.noise)
        unit = np.maximum(np.median(noise, axis=(1, 2), keepdims=True), _MIN_NOISE * _sizes(state.smoothed))
        speeds = state.speeds + _gain(self._settings.speed_cutoff_hz, elapsed) * np.nan_to_num(
            (steps - shared) / elapsed / unit - state.speeds
        )
        excess = np.maximum(np.abs(speeds) - self._settings.rest_speed, 0)
        cutoffs = self._settings.min_cutoff_hz + self._settings.cutoff_per_speed * excess

        predicted = state.smoothed + shared
        correction = np.where(weights > 0, keypoints - predicted, 0)
        smoothed = predicted + weights * _gain(cutoffs, elapsed) * correction
        return _State(
            seconds=np.full(len(keypoints), seconds),
            seen=np.where(weights > 0, keypoints, state.seen + shared),
            steps=steps,
            noise=noise,
            smoothed=np.where(np.isnan(smoothed), keypoints, smoothed),  # what is seen for the first time
            speeds=speeds,
        )


def _gain(cutoffs_hz: float | Float[np.ndarray, "P K 2"], elapsed: Float[np.ndarray, "P 1 1"]) -> np.ndarray:
    """Share of a new value in the low-pass filter's next one."""
    turn = 2 * np.pi * cutoffs_hz * elapsed
    return np.asarray(turn / (turn + 1))


def _sizes(keypoints: Float[np.ndarray, "P K 2"]) -> Float[np.ndarray, "P 1 1"]:
    return np.asarray(np.nan_to_num(person_sizes(keypoints), nan=1.0)[:, None, None])


def _relative_scores(
    keypoints: Float[np.ndarray, "P K 2"], scores: Float[np.ndarray, "P K"]
) -> Float[np.ndarray, "P K"]:
    """Scores as shares of each person's best; 0 where there is no keypoint."""
    seen = np.where(np.isfinite(keypoints).all(-1), np.nan_to_num(scores), 0.0)
    return np.asarray(seen / np.maximum(seen.max(-1, keepdims=True), _MIN_SCORE))


def _shared_motion(steps: Float[np.ndarray, "P K 2"]) -> Float[np.ndarray, "P 1 2"]:
    """The mean motion of a person's keypoints, none where nothing was seen twice; jumps of single ones are cut off."""
    steps = np.where(np.isfinite(steps).any(1, keepdims=True), steps, 0.0)
    middle = median_of_seen(steps)
    widest = _CLIPPED_DEVIATIONS * median_of_seen(np.abs(steps - middle))
    return np.asarray(np.nanmean(np.clip(steps, middle - widest, middle + widest), axis=1, keepdims=True))
