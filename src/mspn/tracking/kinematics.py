"""Joint angles, steps and symmetry of a person who is seen from the side; docs/kinematics.md defines all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mspn.errors import TracksError
from mspn.structures.shapes import Float, Int
from mspn.structures.skeleton import Skeleton, match_keypoints
from mspn.tracking.tracks import Track

SIDES = ("left", "right")
JOINTS = ("hip", "knee", "shoulder", "elbow")
TRUNK = "trunk_lean"
_ENDS = {
    "hip": ("hip", "knee"),
    "knee": ("knee", "ankle"),
    "shoulder": ("shoulder", "elbow"),
    "elbow": ("elbow", "wrist"),
}
"""Start and end of the segment that a joint moves."""
_ABOVE = {"knee": "hip", "elbow": "shoulder"}
"""The joint whose segment is above; that of the others is the trunk."""
_PARTS = ("nose", *(f"{side}_{part}" for part in (*JOINTS, "ankle", "wrist") for side in SIDES))
_LOWEST_DEGREES = -110.0
"""Joint angles are from here to 360 more: no joint bends back so far."""
MAX_GAP_SECONDS = 0.5
"""Nothing is measured across longer ones."""
_FACING_SECONDS = 1.0
"""Over which it is judged in which direction a person looks."""
_NOSE_SECONDS = 0.1
"""In which a walker's hips go as far as the nose of one who stands is in front of the shoulders."""
_SHOULDERS_TO_TRUNK = 0.259 / 0.288
"""Widths and lengths as shares of the height; source: Drillis and Contini 1966, in Winter's Biomechanics."""
_STRIKE_SECONDS, _SWING_SECONDS = 0.2, 0.6
"""A foot comes down once within the first, after a swing that takes no longer than the second."""
_MIN_SWING = 0.1
"""Of a foot that makes a step, from its rearmost to its foremost place, in sizes of the person."""


class Step(NamedTuple):
    """A foot that comes down."""

    side: str
    seconds: float
    """When it is farthest in front of the hips."""
    step_seconds: float | None
    """Since the other foot came down; None where that was not seen."""
    stride_seconds: float | None
    """Since the same foot came down."""


class Range(NamedTuple):
    """What an angle does over a track."""

    lowest: float
    highest: float
    fastest: float
    """Highest angular velocity, in either direction, in degrees a second."""

    @property
    def extent(self) -> float:
        """The range of motion."""
        return self.highest - self.lowest


@dataclass(frozen=True, eq=False)
class Kinematics:
    """The angles of one person in F frames."""

    frames: Int[np.ndarray, " F"]
    seconds: Float[np.ndarray, " F"]
    angles: Mapping[str, Float[np.ndarray, " F"]]
    """Degrees, NaN where a keypoint is missing, by name: left_hip, right_hip, left_knee, ..., trunk_lean."""
    velocities: Mapping[str, Float[np.ndarray, " F"]]
    """Degrees a second, by the same names."""
    steps: tuple[Step, ...]
    """In the order of time."""
    camera_degrees: float
    """By how much the camera seems to be off the person's side; NaN if the shoulders are not seen."""

    @property
    def ranges(self) -> dict[str, Range]:
        """By the names of the angles that were measured at all."""
        return {
            name: Range(float(np.nanmin(angle)), float(np.nanmax(angle)), _largest(np.abs(self.velocities[name])))
            for name, angle in self.angles.items()
            if np.isfinite(angle).any()
        }

    @property
    def asymmetries(self) -> dict[str, float]:
        """How much larger the left side's range of motion or step time is: of the mean of both, in percent."""
        extents = {name: extent.extent for name, extent in self.ranges.items()}
        steps = {
            side: [step.step_seconds for step in self.steps if step.side == side and step.step_seconds]
            for side in SIDES
        }
        pairs = {joint: tuple(extents.get(f"{side}_{joint}") for side in SIDES) for joint in JOINTS}
        pairs["step time"] = tuple(float(np.mean(steps[side])) if steps[side] else None for side in SIDES)
        return {
            name: 200 * (left - right) / (left + right)
            for name, (left, right) in pairs.items()
            if left is not None and right is not None and left + right > 0
        }


def measure_kinematics(track: Track, skeleton: Skeleton) -> Kinematics:
    """Measure the angles of a person's joints, their velocities, and the steps.

    Angles are those of the image: they are the person's where the camera looks at the side.

    >>> import mspn
    >>> from mspn.structures.skeleton import Skeleton
    >>> leg = Skeleton(name="leg", keypoints=("left_hip", "left_knee", "left_ankle"))
    >>> keypoints = np.array([[[50.0, 0.0], [80.0, 30.0], [80.0, 70.0]]])
    >>> track = Track(1, np.arange(1), np.zeros(1), keypoints, np.ones((1, 3)), np.zeros((1, 3), bool))
    >>> mspn.measure_kinematics(track, leg).angles["left_knee"].round().tolist()
    [45.0]

    Args:
        track: smoothed, since velocities of raw keypoints are mostly noise.
        skeleton: of its keypoints, whose names may be in any spelling.

    Raises:
        TracksError: if the skeleton has no joint of which an angle is measured.
    """
    points = _find_parts(track, skeleton)
    trunk_px = _middle(points, "shoulder") - _middle(points, "hip")
    facing = _find_facing(points, track.seconds)[:, None] * [1, 0] + [0, 1]
    turned = {name: place * facing for name, place in points.items()}  # to the right
    angles = _measure_angles(turned, trunk_px * facing)
    if not angles:
        raise TracksError(
            f"{skeleton.name} has no hip and knee, knee and ankle, shoulder and elbow, nor elbow and wrist of a side;"
            " joint angles need them"
        )
    pieces = _split_at_gaps(track.seconds)
    return Kinematics(
        frames=track.frames,
        seconds=track.seconds,
        angles=angles,
        velocities={name: _differentiate(angle, track.seconds, pieces) for name, angle in angles.items()},
        steps=_find_steps(turned, track),
        camera_degrees=_find_camera(points, trunk_px),
    )


def _find_parts(track: Track, skeleton: Skeleton) -> dict[str, Float[np.ndarray, "F 2"]]:
    """The keypoints that angles need, by name; NaN where the skeleton does not have one."""
    names = match_keypoints(skeleton.keypoints, _PARTS)
    nowhere = np.full((len(track.frames), 2), np.nan)
    return {
        part: track.keypoints[:, skeleton.keypoints.index(names[part])] if part in names else nowhere for part in _PARTS
    }


def _middle(points: Mapping[str, Float[np.ndarray, "F 2"]], part: str) -> Float[np.ndarray, "F 2"]:
    """Between the left and the right one, or where the only one is."""
    left, right = points[f"left_{part}"], points[f"right_{part}"]
    return (np.where(np.isnan(left), right, left) + np.where(np.isnan(right), left, right)) / 2


def _find_facing(
    points: Mapping[str, Float[np.ndarray, "F 2"]], seconds: Float[np.ndarray, " F"]
) -> Float[np.ndarray, " F"]:
    """1 where a person looks to the right, -1 where to the left, by the nose and by where the hips go."""
    nose = points["nose"][:, 0] - _middle(points, "shoulder")[:, 0]
    speed = _differentiate(_middle(points, "hip")[:, 0], seconds, _split_at_gaps(seconds))
    evidence = np.nan_to_num(nose) + _NOSE_SECONDS * np.nan_to_num(speed)
    first, end = np.searchsorted(seconds, [seconds - _FACING_SECONDS / 2, seconds + _FACING_SECONDS / 2])
    sums = np.concatenate([[0], np.cumsum(evidence)])
    around = sums[end] - sums[first]
    if not around.any():
        return np.ones(len(seconds))
    known = np.flatnonzero(around)  # the others look as in the known frame before, or else in the first known one
    before = np.maximum(np.searchsorted(known, np.arange(len(seconds)), side="right") - 1, 0)
    return np.asarray(np.sign(around[known[before]]))


def _measure_angles(
    points: Mapping[str, Float[np.ndarray, "F 2"]], trunk: Float[np.ndarray, "F 2"]
) -> dict[str, Float[np.ndarray, " F"]]:
    """Of a person who looks to the right; without those of which a keypoint is never seen."""
    segments = {
        f"{side}_{joint}": points[f"{side}_{end}"] - points[f"{side}_{start}"]
        for joint, (start, end) in _ENDS.items()
        for side in SIDES
    }
    angles = {}
    for name, segment in segments.items():
        side, joint = name.split("_")
        above = segments[f"{side}_{_ABOVE[joint]}"] if joint in _ABOVE else -trunk
        bend = _from_down(segment) - _from_down(above)
        if joint == "knee":  # the only one that bends back
            bend = -bend
        angles[name] = (bend - _LOWEST_DEGREES) % 360 + _LOWEST_DEGREES
    angles[TRUNK] = np.degrees(np.arctan2(trunk[:, 0], -trunk[:, 1]))
    return {name: angle for name, angle in angles.items() if np.isfinite(angle).any()}


def _from_down(segment: Float[np.ndarray, "F 2"]) -> Float[np.ndarray, " F"]:
    """Degrees from straight down, forward positive."""
    return np.asarray(np.degrees(np.arctan2(segment[:, 0], segment[:, 1])))


def _split_at_gaps(seconds: Float[np.ndarray, " F"]) -> list[slice]:
    """The parts of a track between long gaps."""
    ends = [0, *(np.flatnonzero(np.diff(seconds) > MAX_GAP_SECONDS) + 1).tolist(), len(seconds)]
    return [slice(start, end) for start, end in pairwise(ends)]


def _differentiate(
    values: Float[np.ndarray, " F"], seconds: Float[np.ndarray, " F"], pieces: Sequence[slice]
) -> Float[np.ndarray, " F"]:
    """Change a second, from the frames before and after; NaN beside missing values and in single frames."""
    changes = np.full(len(values), np.nan)
    for piece in pieces:
        if piece.stop - piece.start > 1:
            changes[piece] = np.gradient(values[piece], seconds[piece])
    return changes


def _find_steps(points: Mapping[str, Float[np.ndarray, "F 2"]], track: Track) -> tuple[Step, ...]:
    """Where an ankle is farthest in front of the hips, as Zeni and others (2008) find heel strikes.

    Times between steps are measured where both feet are seen all the time.
    """
    hips = _middle(points, "hip")[:, 0]
    ahead = np.stack([points[f"{side}_ankle"][:, 0] - hips for side in SIDES])
    is_seen = np.isfinite(ahead).all(0)
    ahead, seconds = ahead[:, is_seen], track.seconds[is_seen]
    min_swing_px = _MIN_SWING * track.size_px
    return tuple(
        step
        for piece in _split_at_gaps(seconds)
        for step in _time_steps(
            sorted(
                (time, side)
                for side, foot in zip(SIDES, ahead, strict=True)
                for time in _find_peaks(foot[piece], seconds[piece], min_swing_px)
            )
        )
    )


def _time_steps(strikes: Sequence[tuple[float, str]]) -> list[Step]:
    """Steps with the times since those before them."""
    steps: list[Step] = []
    latest: dict[str, float] = {}
    for time, side in strikes:
        other = SIDES[1 - SIDES.index(side)]
        follows = bool(steps) and steps[-1].side == other
        steps.append(
            Step(side, time, time - latest[other] if follows else None, time - latest[side] if side in latest else None)
        )
        latest[side] = time
    return steps


def _find_peaks(ahead: Float[np.ndarray, " n"], seconds: Float[np.ndarray, " n"], min_swing_px: float) -> list[float]:
    """When a foot is farther ahead than shortly before and after, having come from far enough behind."""
    peaks = []
    for frame in np.flatnonzero((ahead[1:-1] > ahead[:-2]) & (ahead[1:-1] >= ahead[2:])) + 1:
        near = np.abs(seconds - seconds[frame]) <= _STRIKE_SECONDS
        swing = (seconds >= seconds[frame] - _SWING_SECONDS) & (seconds <= seconds[frame])
        if ahead[frame] >= ahead[near].max() and ahead[frame] - ahead[swing].min() >= min_swing_px:
            peaks.append(_top_of_parabola(seconds[frame - 1 : frame + 2], ahead[frame - 1 : frame + 2]))
    return peaks


def _top_of_parabola(seconds: Float[np.ndarray, "3"], values: Float[np.ndarray, "3"]) -> float:
    """Where the parabola through three points, the second of which is the highest, has its top."""
    (before, after), (rise, fall) = np.diff(seconds), np.diff(values)
    slopes = rise / before, fall / after
    curvature = (slopes[1] - slopes[0]) / (before + after)
    return float(seconds[1] - (slopes[0] + curvature * before) / (2 * curvature))


def _find_camera(points: Mapping[str, Float[np.ndarray, "F 2"]], trunk_px: Float[np.ndarray, "F 2"]) -> float:
    """Degrees between the view and one from the side, by how far apart the shoulders are."""
    apart = np.abs(points["left_shoulder"][:, 0] - points["right_shoulder"][:, 0])
    lengths = np.hypot(*trunk_px.T)
    seen = np.isfinite(apart) & (lengths > 0)
    if not seen.any():
        return float("nan")
    return float(np.degrees(np.arcsin(min(np.median(apart[seen] / lengths[seen]) / _SHOULDERS_TO_TRUNK, 1.0))))


def _largest(values: Float[np.ndarray, " F"]) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else float("nan")
