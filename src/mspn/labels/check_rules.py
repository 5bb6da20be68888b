"""Rules about a person's box, area and keypoints, about people who were labeled twice, and about human bodies.

Those about bodies look for left and right that contradict each other, and limbs that are too long. They need
keypoints with COCO's names and skip people without them. What they find is unlikely, not impossible.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from mspn.labels.label_table import Finding, LabelTable
from mspn.structures.boxes import Box, iou
from mspn.structures.shapes import Float

_MAX_BEYOND_SHARE = 0.05
"""A box may reach beyond the image by this share of its longer side."""
_MAX_AREA_RATIO = 1.01
"""Of a person's area and box, above 1 since files round both."""


def check_boxes(table: LabelTable) -> Iterator[Finding]:
    """Boxes that are empty or outside the image, and impossible areas."""
    yield from _check_box_shape(table)
    yield from _check_box_position(table)
    yield from _check_area(table)


def _check_box_shape(table: LabelTable) -> Iterator[Finding]:
    has_box = np.array([person.box is not None for person in table.labels.people], bool)
    is_bad = has_box & np.isnan(table.boxes[:, 0])
    yield from table.find("bad_box", is_bad, lambda index: f"box {_format_box(table.labels.people[index].box)}")


def _check_box_position(table: LabelTable) -> Iterator[Finding]:
    start = table.boxes[:, :2]
    end = start + table.boxes[:, 2:]
    is_outside = ((start >= table.sizes) | (end <= 0)).any(1)
    beyond = np.maximum(-start, end - table.sizes).max(1)
    is_beyond = ~is_outside & (beyond > 1) & (beyond > _MAX_BEYOND_SHARE * table.extents)

    def describe(index: int) -> str:
        width, height = table.sizes[index]
        return f"box {_format_box(table.labels.people[index].box)} in an image of {width:.0f}x{height:.0f} pixels"

    yield from table.find("box_outside", is_outside, describe)
    yield from table.find(
        "box_beyond_image", is_beyond, lambda index: f"{describe(index)}: {beyond[index]:.1f} pixels too far"
    )


def _check_area(table: LabelTable) -> Iterator[Finding]:
    areas = np.array([person.area for person in table.labels.people], object)
    is_missing = areas == None  # noqa: E711 (elementwise)
    if is_missing.all():
        # The format has no areas: readers derive them.
        return
    is_bad = is_missing | ~(np.isfinite(table.areas) & (table.areas > 0))
    yield from table.find("bad_area", is_bad, lambda index: f"area {_format_area(areas[index])}")
    box_areas = table.boxes[:, 2] * table.boxes[:, 3]
    yield from table.find(
        "large_area",
        table.areas > _MAX_AREA_RATIO * box_areas,
        lambda index: f"area {table.areas[index]:g} in a box of {box_areas[index]:.1f} square pixels",
    )


def _format_area(value: float | None) -> str:
    return "missing" if value is None else f"{value:g}"


def _format_box(box: Box | None) -> str:
    assert box is not None
    return "[" + ", ".join(str(round(value, 1)) if math.isfinite(value) else str(value) for value in box) + "]"


_MAX_OUTSIDE_PX = 2.0
"""Beyond the image's border: some tools count from 1, some clip to the width, not to width - 1."""
_MAX_FAR_SHARE = 0.5
"""Distance from the box, as a share of its longer side: some boxes are drawn around what is visible."""


def check_keypoints(table: LabelTable) -> Iterator[Finding]:
    """Keypoints that are not finite, missing, or at impossible positions."""
    yield from _check_numbers(table)
    yield from _check_emptiness(table)
    yield from _check_keypoint_positions(table)


def _check_numbers(table: LabelTable) -> Iterator[Finding]:
    people, names = table.labels.people, table.labels.skeleton.keypoints
    is_wrong = ~np.isin(table.visibility, (0, 1, 2))
    is_invalid = (table.visibility > 0) & ~table.is_labeled

    def describe_visibility(index: int) -> str:
        column = int(np.flatnonzero(is_wrong[index])[0])
        return f"{names[column]} has visibility {people[index].keypoints_image[column, 2]:g}"

    def describe_position(index: int) -> str:
        column = int(np.flatnonzero(is_invalid[index])[0])
        x, y, _ = people[index].keypoints_image[column]
        return f"{names[column]} is labeled at ({x:g}, {y:g})"

    yield from table.find("bad_visibility", np.any(is_wrong, axis=1), describe_visibility)
    yield from table.find("bad_number", np.any(is_invalid, axis=1), describe_position)


def _check_emptiness(table: LabelTable) -> Iterator[Finding]:
    count = table.is_labeled.sum(1)
    is_person = ~np.array([person.is_crowd for person in table.labels.people], bool)
    yield from table.find("no_keypoints", is_person & (count == 0), lambda _: "no keypoint is labeled")
    declared = [person.extra.get("num_keypoints") for person in table.labels.people]
    differs = np.array(
        [number not in (None, actual) for number, actual in zip(declared, count.tolist(), strict=True)], bool
    )
    yield from table.find(
        "wrong_count", differs, lambda index: f"num_keypoints is {declared[index]}, but {count[index]} are labeled"
    )
    is_point = (count > 1) & np.all(table.high == table.low, axis=1)
    at_origin = np.all(table.points == 0, axis=-1)
    yield from table.find(
        "at_origin",
        np.any(at_origin, axis=1),
        lambda index: f"{table.name_keypoints(at_origin[index])} labeled at exactly (0, 0)",
    )
    yield from table.find(
        "one_point",
        is_point & ~np.any(at_origin, axis=1),
        lambda index: "all {} keypoints at ({:g}, {:g})".format(count[index], *table.low[index]),
    )


def _check_keypoint_positions(table: LabelTable) -> Iterator[Finding]:
    sizes = table.sizes[:, None]
    is_outside = np.any((table.points < -_MAX_OUTSIDE_PX) | (table.points > sizes + _MAX_OUTSIDE_PX), axis=-1)

    def describe_outside(index: int) -> str:
        point = table.points[index, int(np.flatnonzero(is_outside[index])[0])]
        names = table.name_keypoints(is_outside[index])
        return "{} at ({:.1f}, {:.1f}) in an image of {:.0f}x{:.0f} pixels".format(names, *point, *table.sizes[index])

    yield from table.find("outside_image", np.any(is_outside, axis=1), describe_outside)

    start = table.boxes[:, None, :2]
    distances = np.maximum(start - table.points, table.points - start - table.boxes[:, None, 2:]).max(-1)
    is_far = distances > _MAX_FAR_SHARE * table.extents[:, None]
    yield from table.find(
        "far_from_box",
        np.any(is_far, axis=1),
        lambda index: (
            f"{table.name_keypoints(is_far[index])} {np.fmax.reduce(distances[index]):.1f} pixels outside"
            f" the box of {table.boxes[index, 2]:.1f}x{table.boxes[index, 3]:.1f}"
        ),
    )


_MIN_IOU_SAME = 0.95
"""Share of their union that two boxes of one person have in common."""
_MAX_DISTANCE_SAME = 0.03
"""Median distance between keypoints of one person who was labeled twice, as a share of the person's size."""
_MIN_IOU_CANDIDATE = 0.5
"""Pairs of a lower IoU are not compared."""
_MIN_COMMON_KEYPOINTS = 3
"""With fewer keypoints in common, the boxes decide."""


def check_repeats(table: LabelTable) -> Iterator[Finding]:
    """People with the same keypoints, or the same box, as an earlier person of the image."""
    people = table.labels.people
    by_image: dict[int, list[int]] = defaultdict(list)
    for index, person in enumerate(people):
        if not person.is_crowd:
            by_image[person.image_id].append(index)
    corners = np.column_stack([table.boxes[:, :2], table.boxes[:, :2] + table.boxes[:, 2:]])
    corners = np.where(np.isnan(corners), np.column_stack([table.low, table.high]), corners)
    repeated: dict[int, str] = {}
    for indices in by_image.values():
        if len(indices) == 1:
            continue
        overlaps = iou(corners[indices][:, None], corners[indices])
        for row, column in np.argwhere(np.triu(overlaps > _MIN_IOU_CANDIDATE, 1)).tolist():
            first, second = indices[row], indices[column]
            likeness = _likeness(table, first, second, overlaps[row, column])
            if likeness is not None:
                repeated[second] = f"{likeness} as person {people[first].id}"
    yield from table.find(
        "labeled_twice", np.isin(np.arange(len(people)), list(repeated)), lambda index: repeated[index]
    )


def _likeness(table: LabelTable, first: int, second: int, overlap: float) -> str | None:
    distances = np.linalg.norm(table.points[first] - table.points[second], axis=-1)
    distances = distances[np.isfinite(distances)]
    if len(distances) < _MIN_COMMON_KEYPOINTS:
        return f"the same box ({overlap:.0%} in common)" if overlap > _MIN_IOU_SAME else None
    middle = float(np.median(distances))
    if middle > _MAX_DISTANCE_SAME * table.extents[second]:
        return None
    return f"the same keypoints ({len(distances)} in common, {middle:.1f} pixels apart)"


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
