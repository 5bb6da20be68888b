"""Rules about human bodies: left and right that contradict each other, limbs that are too long.

They look at keypoints named as COCO's; whoever lacks those is not judged. What they find is unlikely, not impossible.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from mspn.data.checks.findings import Finding
from mspn.data.checks.table import LabelTable

_WIDE_SHARE = 0.15
"""Shoulders and hips say which way somebody faces if they are at least this wide, as a share of the torso's length."""
_WIDE_HEAD_SHARE = 0.3
"""The same of shoulders that contradict the face: heads turn further than hips."""
_FACE_SINE = 0.5
"""Of the angle at the nose between the eyes; below it the face is seen from the side."""
_CROSSED_SHARE = 0.7
"""A pair of limbs is crossed if swapping its lower ends makes both together shorter than this share."""
_CROSSABLE = (("shoulder", "elbow"), ("hip", "knee"), ("knee", "ankle"))
"""Forearms are left out: people fold their arms."""
_LONG_FACTOR = 2.5
"""A limb is too long if it is this many times as long as the person's other limbs let expect."""
_FEWEST_LIMBS = 4
_FEWEST_PEOPLE = 10
"""With fewer labelled limbs, or people who have them, there is nothing to compare a limb with."""


def check_bodies(table: LabelTable) -> Iterator[Finding]:
    """Left and right, and lengths."""
    yield from _check_torso(table)
    yield from _check_face(table)
    yield from _check_crossed_limbs(table)
    yield from _check_lengths(table)


def measure_facing(table: LabelTable, part: str) -> Float[np.ndarray, " N"]:
    """Width of shoulders or hips across the torso as a share of its length; above 0 who faces the camera, else below.

    The torso may lie in any direction. NaN where a shoulder or hip is unlabelled.
    """
    up = _middle(table, "shoulder") - _middle(table, "hip")
    length = _length(up)
    across = table.point(f"left_{part}") - table.point(f"right_{part}")
    # A quarter turn clockwise as seen, so that the upright torso's `right` points to the right of the picture.
    right = np.stack([-up[:, 1], up[:, 0]], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        facing: np.ndarray = (across * right).sum(-1) / length**2
    return facing


def _check_torso(table: LabelTable) -> Iterator[Finding]:
    shoulders, hips = measure_facing(table, "shoulder"), measure_facing(table, "hip")
    is_crossed = (shoulders * hips < 0) & (np.minimum(abs(shoulders), abs(hips)) > _WIDE_SHARE)
    yield from table.find(
        "crossed_torso",
        is_crossed,
        lambda index: (
            f"the shoulders face {_direction(shoulders[index])} the camera, the hips {_direction(hips[index])} it"
        ),
    )


def _check_face(table: LabelTable) -> Iterator[Finding]:
    shoulders = measure_facing(table, "shoulder")
    nose = table.point("nose")
    left, right = table.point("left_eye") - nose, table.point("right_eye") - nose
    with np.errstate(divide="ignore", invalid="ignore"):
        sine = (left[:, 1] * right[:, 0] - left[:, 0] * right[:, 1]) / (_length(left) * _length(right))
    yield from table.find(
        "mirrored_face",
        sine < -_FACE_SINE,
        lambda _: "seen from the nose, the left eye is where the right eye should be",
    )
    yield from table.find(
        "turned_head",
        (sine > _FACE_SINE) & (shoulders < -_WIDE_HEAD_SHARE),
        lambda _: "the face looks to the camera, the shoulders face away from it",
    )


def _check_crossed_limbs(table: LabelTable) -> Iterator[Finding]:
    for start, end in _CROSSABLE:
        starts = [table.point(f"{side}_{start}") for side in ("left", "right")]
        ends = [table.point(f"{side}_{end}") for side in ("left", "right")]
        own = _length(starts[0] - ends[0]) + _length(starts[1] - ends[1])
        swapped = _length(starts[0] - ends[1]) + _length(starts[1] - ends[0])
        yield from table.find(
            "crossed_limbs",
            swapped < _CROSSED_SHARE * own,
            lambda index, own=own, swapped=swapped, start=start, end=end: (
                f"{start} to {end} is {own[index]:.1f} pixels on both sides together, {swapped[index]:.1f} if swapped"
            ),
        )


def _check_lengths(table: LabelTable) -> Iterator[Finding]:
    """Compare each limb with the set's median of it, relative to the person's other limbs."""
    names = table.labels.skeleton.keypoints
    limbs = table.labels.skeleton.limb_indices
    shares = [_length(table.points[:, start] - table.points[:, end]) / table.extents for start, end in limbs]
    known = [number for number, share in enumerate(shares) if np.isfinite(share).sum() >= _FEWEST_PEOPLE]
    if not known:
        return
    relative = np.column_stack([shares[number] / np.nanmedian(shares[number]) for number in known])
    is_judged = np.isfinite(relative).sum(1) >= _FEWEST_LIMBS
    expected = np.full(len(relative), np.nan)
    expected[is_judged] = np.nanmedian(relative[is_judged], axis=1)
    times = relative / expected[:, None]

    def describe(index: int) -> str:
        worst = int(np.nanargmax(times[index]))
        start, end = limbs[known[worst]]
        return (
            f"{names[start]} to {names[end]} is {times[index, worst]:.1f} times as long as the other limbs let expect"
        )

    yield from table.find("long_limb", (times > _LONG_FACTOR).any(1), describe)


def _middle(table: LabelTable, part: str) -> Float[np.ndarray, "N 2"]:
    middle: np.ndarray = (table.point(f"left_{part}") + table.point(f"right_{part}")) / 2
    return middle


def _length(vectors: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, " N"]:
    return np.linalg.norm(vectors, axis=-1)


def _direction(facing: float) -> str:
    return "towards" if facing > 0 else "away from"
