"""Rules about human bodies: left and right that contradict each other, limbs that are too long.

They need keypoints with COCO's names and skip people without them. What they find is unlikely, not impossible.
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from mspn.labels.checks.findings import Finding
from mspn.labels.checks.label_table import LabelTable

WIDE_SHARE = 0.25
"""Least width of shoulders and hips that tells which way a person faces, as a share of the torso's length."""
_FACE_SINE = 0.5
"""Of the angle at the nose between the eyes; below it the face is seen from the side."""
_FRONTAL_RATIO = 0.7
"""Of the distances from the nose to the eyes, at least, in a face that looks to the camera."""
_SHOULDERS_TO_EYES = 2.5
"""Shoulders that contradict the eyes are at least this many times as wide: they are not just seen from the side."""
_CROSSED_SHARE = 0.7
"""A pair of limbs is crossed if swapping its lower ends makes both together shorter than this share."""
_CROSSABLE = (("shoulder", "elbow"), ("hip", "knee"), ("knee", "ankle"))
"""Forearms are left out: people fold their arms."""
_KNEE_GAP = 0.75
"""Lower legs may cross where the knees are further apart than this share of their length: people sit cross-legged."""
_LONG_FACTOR = 3.0
"""A limb is too long at this many times the length expected from the person's other limbs."""
_MIN_LIMBS = 4
_MIN_PEOPLE = 10
"""With fewer labeled limbs, or people who have them, there is nothing to compare a limb with."""


def check_bodies(table: LabelTable) -> Iterator[Finding]:
    """Left and right, and lengths."""
    yield from _check_torso(table)
    yield from _check_face(table)
    yield from _check_crossed_limbs(table)
    yield from _check_lengths(table)


def measure_facing(table: LabelTable, part: str) -> Float[np.ndarray, " N"]:
    """Width of shoulders or hips across the torso as a share of its length; above 0 who faces the camera, else below.

    The torso may lie in any direction. NaN where a shoulder or hip is unlabeled.
    """
    up = _middle(table, "shoulder") - _middle(table, "hip")
    length = _length(up)
    across = table.point(f"left_{part}") - table.point(f"right_{part}")
    # A quarter turn clockwise as seen, so that the upright torso's `right` points to the right of the image.
    right = np.stack([-up[:, 1], up[:, 0]], axis=-1)
    facing: np.ndarray = (across * right).sum(-1) / length**2
    return facing


def measure_uprightness(table: LabelTable) -> Float[np.ndarray, " N"]:
    """Cosine of the torso's angle from upright: 1 standing, -1 on the head; NaN as in `measure_facing`."""
    up = _middle(table, "shoulder") - _middle(table, "hip")
    uprightness: np.ndarray = -up[:, 1] / _length(up)
    return uprightness


def measure_lengths(table: LabelTable) -> Float[np.ndarray, "N L"]:
    """Length of each limb relative to the length expected from the person's other limbs.

    The proportions are the medians of the set. NaN where the limb is unlabeled, or there is too little to compare.
    """
    limbs = np.array(table.labels.skeleton.limb_indices, int).reshape(-1, 2)
    shares = _length(table.points[:, limbs[:, 0]] - table.points[:, limbs[:, 1]]) / table.extents[:, None]
    is_known = np.isfinite(shares).sum(0) >= _MIN_PEOPLE
    usual = np.full(len(limbs), np.nan)
    usual[is_known] = np.nanmedian(shares[:, is_known], axis=0)
    relative = shares / usual
    is_judged = np.isfinite(relative).sum(1) >= _MIN_LIMBS
    expected = np.full(len(relative), np.nan)
    expected[is_judged] = np.nanmedian(relative[is_judged], axis=1)
    times: np.ndarray = relative / np.where(expected > 0, expected, np.nan)[:, None]
    return times


def _check_torso(table: LabelTable) -> Iterator[Finding]:
    shoulders, hips = measure_facing(table, "shoulder"), measure_facing(table, "hip")
    is_crossed = (shoulders * hips < 0) & (np.minimum(abs(shoulders), abs(hips)) > WIDE_SHARE)
    yield from table.find(
        "crossed_torso",
        is_crossed,
        lambda index: (
            f"the shoulders face {_direction(shoulders[index])} the camera, the hips {_direction(hips[index])} it"
        ),
    )


def _check_face(table: LabelTable) -> Iterator[Finding]:
    nose, left, right = (_visible_point(table, name) for name in ("nose", "left_eye", "right_eye"))
    left_length, right_length = _length(left - nose), _length(right - nose)
    sine = _cross(right - nose, left - nose) / (left_length * right_length)
    ratio = np.minimum(left_length, right_length) / np.maximum(left_length, right_length)
    eyes = left - right
    shoulders = (table.point("left_shoulder") - table.point("right_shoulder")) * eyes
    shoulders_to_eyes = shoulders.sum(-1) / _length(eyes) ** 2
    yield from table.find(
        "mirrored_face",
        sine < -_FACE_SINE,
        lambda _: "seen from the nose, the left eye is where the right eye should be",
    )
    yield from table.find(
        "turned_head",
        (sine > _FACE_SINE) & (ratio > _FRONTAL_RATIO) & (shoulders_to_eyes < -_SHOULDERS_TO_EYES),
        lambda _: "the face looks to the camera, the shoulders face away from it",
    )


def _check_crossed_limbs(table: LabelTable) -> Iterator[Finding]:
    crossed: dict[int, list[str]] = defaultdict(list)
    for start, end in _CROSSABLE:
        left_start, right_start = table.point(f"left_{start}"), table.point(f"right_{start}")
        left_end, right_end = table.point(f"left_{end}"), table.point(f"right_{end}")
        own = _length(left_start - left_end) + _length(right_start - right_end)
        swapped = _length(left_start - right_end) + _length(right_start - left_end)
        is_crossed = swapped < _CROSSED_SHARE * own
        if start == "knee":
            is_crossed &= _length(left_start - right_start) < _KNEE_GAP * own / 2
        for index in np.flatnonzero(is_crossed).tolist():
            crossed[index].append(
                f"{start} to {end}: {own[index]:.1f} pixels on both sides together, {swapped[index]:.1f} if swapped"
            )
    is_any = np.isin(np.arange(len(table.points)), list(crossed))
    yield from table.find("crossed_limbs", is_any, lambda index: "; ".join(crossed[index]))


def _check_lengths(table: LabelTable) -> Iterator[Finding]:
    """Compare each limb with the set's median of it, relative to the person's other limbs."""
    names = table.labels.skeleton.keypoints
    times = measure_lengths(table)

    def describe(index: int) -> str:
        worst = int(np.nanargmax(times[index]))
        start, end = table.labels.skeleton.limb_indices[worst]
        return f"{names[start]} to {names[end]} is {times[index, worst]:.1f} times as long as the other limbs suggest"

    yield from table.find("long_limb", np.any(times > _LONG_FACTOR, axis=1), describe)


def _visible_point(table: LabelTable, name: str) -> Float[np.ndarray, "N 2"]:
    """NaN where it is occluded: on faces, that is a guess."""
    points = table.point(name)
    if name in table.labels.skeleton.keypoints:
        is_visible = table.visibility[:, table.labels.skeleton.keypoints.index(name)] == 2
        points = np.where(is_visible[:, None], points, np.nan)
    return points


def _middle(table: LabelTable, part: str) -> Float[np.ndarray, "N 2"]:
    middle: np.ndarray = (table.point(f"left_{part}") + table.point(f"right_{part}")) / 2
    return middle


def _length(vectors: Float[np.ndarray, "*N 2"]) -> Float[np.ndarray, " *N"]:
    length: np.ndarray = np.linalg.norm(vectors, axis=-1)
    return length


def _cross(first: Float[np.ndarray, "N 2"], second: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, " N"]:
    """Positive where the second lies clockwise of the first as seen, since y points down."""
    cross: np.ndarray = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    return cross


def _direction(facing: float) -> str:
    return "towards" if facing > 0 else "away from"
