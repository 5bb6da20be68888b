"""Drawing poses and labels: limbs coloured by side; poses fade by score, occluded labels are hollow."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mspn.records import Box, Pose
from mspn.skeleton import Skeleton

Colour = tuple[int, int, int]

_LEFT: Colour = (255, 120, 40)
_RIGHT: Colour = (40, 170, 255)
_MIDDLE: Colour = (120, 230, 80)
_BOX: Colour = (255, 255, 255)
_HOLE: Colour = (0, 0, 0)
_FAINTEST = 0.1
"""Keypoints with a lower score are not drawn."""
_PERSON_TO_LINE = 120
"""A limb is this many times thinner than its person is large."""
_OCCLUDED_OPACITY = 0.4
"""Of a limb with an occluded end."""


def draw_poses(image: UInt8[np.ndarray, "H W 3"], poses: Sequence[Pose]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw skeletons on a copy of an RGB image.

    The person's left side is orange, the right side blue, what lies between green; the lower a score, the fainter.
    """
    canvas = image.copy()
    for pose in sorted(poses, key=lambda pose: pose.score):
        _draw_pose(canvas, pose)
    return canvas


def draw_labels(
    image: UInt8[np.ndarray, "H W 3"],
    skeleton: Skeleton,
    people: Sequence[Float[np.ndarray, "K 3"]],
    boxes: Sequence[Box | None],
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw labelled people, one box or None each, on a copy of an RGB image.

    Colours are those of `draw_poses`. Visible keypoints are discs, occluded ones rings with faint limbs; what is
    unlabelled or at no finite position is not drawn. Boxes are thin and white.
    """
    canvas = image.copy()
    for keypoints, box in zip(people, boxes, strict=True):
        if box is not None and np.isfinite(box).all():
            _draw_box(canvas, box)
        _draw_person(canvas, skeleton, keypoints)
    return canvas


def _draw_pose(canvas: UInt8[np.ndarray, "H W 3"], pose: Pose) -> None:
    thickness = _thickness(max(pose.box.width, pose.box.height))
    sides = _side_colours(pose.skeleton)
    points = pose.keypoints_image
    scores = pose.keypoint_scores
    for start, end in pose.skeleton.limb_indices:
        opacity = float(min(scores[start], scores[end]))
        if opacity >= _FAINTEST:
            _draw_line(canvas, points[start], points[end], _limb_colour(sides[start], sides[end]), thickness, opacity)
    for colour, point, score in zip(sides, points, scores, strict=True):
        if score >= _FAINTEST:
            _draw_line(canvas, point, point, colour, 2 * thickness + 1, float(score))


def _draw_person(canvas: UInt8[np.ndarray, "H W 3"], skeleton: Skeleton, keypoints: Float[np.ndarray, "K 3"]) -> None:
    points, visibility = keypoints[:, :2], keypoints[:, 2]
    is_drawn = np.isfinite(keypoints).all(1) & (visibility > 0)
    if not is_drawn.any():
        return
    thickness = _thickness(float(np.ptp(points[is_drawn], axis=0).max()))
    sides = _side_colours(skeleton)
    for start, end in skeleton.limb_indices:
        if is_drawn[start] and is_drawn[end]:
            opacity = _OCCLUDED_OPACITY if 1 in visibility[[start, end]] else 1.0
            _draw_line(canvas, points[start], points[end], _limb_colour(sides[start], sides[end]), thickness, opacity)
    for index in np.flatnonzero(is_drawn).tolist():
        _draw_line(canvas, points[index], points[index], sides[index], 2 * thickness + 3, 1.0)
        if visibility[index] == 1:
            _draw_line(canvas, points[index], points[index], _HOLE, thickness + 1, 1.0)


def _draw_box(canvas: UInt8[np.ndarray, "H W 3"], box: Box) -> None:
    left, top, right, bottom = box.left, box.top, box.left + box.width, box.top + box.height
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        _draw_line(canvas, start, end, _BOX, 1, 0.6)


def _thickness(person_size_px: float) -> int:
    return max(1, round(person_size_px / _PERSON_TO_LINE))


def _draw_line(
    canvas: UInt8[np.ndarray, "H W 3"],
    start: np.ndarray,
    end: np.ndarray,
    colour: Colour,
    thickness: int,
    opacity: float,
) -> None:
    """Blend a line onto the canvas; only the part around it is touched."""
    height, width = canvas.shape[:2]
    left, top = np.floor(np.minimum(start, end)).astype(int) - thickness
    right, bottom = np.ceil(np.maximum(start, end)).astype(int) + thickness + 1
    left, right = np.clip([left, right], 0, width)
    top, bottom = np.clip([top, bottom], 0, height)
    if left >= right or top >= bottom:
        return
    part = canvas[top:bottom, left:right]
    drawn = part.copy()
    first, last = (tuple(np.rint(point - (left, top)).astype(int).tolist()) for point in (start, end))
    cv2.line(drawn, first, last, colour, thickness, cv2.LINE_AA)
    cv2.addWeighted(drawn, opacity, part, 1 - opacity, 0, dst=part)


def _limb_colour(start: Colour, end: Colour) -> Colour:
    sides = {start, end} - {_MIDDLE}
    return sides.pop() if len(sides) == 1 else _MIDDLE


def _side_colours(skeleton: Skeleton) -> list[Colour]:
    """One for each keypoint."""
    lefts, rights = zip(*skeleton.mirrored_pairs, strict=True) if skeleton.mirrored_pairs else ((), ())
    return [_LEFT if name in lefts else _RIGHT if name in rights else _MIDDLE for name in skeleton.keypoints]
