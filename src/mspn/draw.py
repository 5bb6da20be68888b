"""Drawing poses and labels: limbs coloured by side, poses faded by score."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mspn.records import Pose
from mspn.skeleton import Skeleton

Colour = tuple[int, int, int]

_LEFT: Colour = (255, 120, 40)
_RIGHT: Colour = (40, 170, 255)
_MIDDLE: Colour = (120, 230, 80)
_FAINTEST = 0.1
"""Keypoints with a lower score are not drawn."""
_PERSON_TO_LINE = 120
"""A limb is this many times thinner than its person is large."""
_OCCLUDED_OPACITY = 0.45


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
    keypoints_image: Float[np.ndarray, "K 3"],
    skeleton: Skeleton,
    *,
    thickness: int,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw one person's labels on a copy of an RGB image, in the colours of `draw_poses`.

    A visible keypoint is a disc, an occluded one a ring; limbs with an occluded end are fainter. What is unlabelled
    is left out.

    Args:
        image: to draw on.
        keypoints_image: (x, y, visibility) in its pixels: 0 unlabelled, 1 occluded, 2 visible.
        skeleton: of the keypoints.
        thickness: of the limbs, in pixels.
    """
    canvas = image.copy()
    points, visibility = keypoints_image[:, :2], keypoints_image[:, 2]
    names = skeleton.keypoints
    for start, end in skeleton.limb_indices:
        if min(visibility[start], visibility[end]) > 0:
            opacity = 1.0 if min(visibility[start], visibility[end]) == 2 else _OCCLUDED_OPACITY
            _draw_line(canvas, points[start], points[end], _limb_colour(names[start], names[end]), thickness, opacity)
    for name, point, seen in zip(names, points, visibility, strict=True):
        if seen == 2:
            _draw_line(canvas, point, point, side_colour(name), 3 * thickness, 1.0)
        elif seen == 1:
            _draw_ring(canvas, point, side_colour(name), 2 * thickness + 1, thickness)
    return canvas


def _draw_pose(canvas: UInt8[np.ndarray, "H W 3"], pose: Pose) -> None:
    thickness = max(1, round(max(pose.box.width, pose.box.height) / _PERSON_TO_LINE))
    names = pose.skeleton.keypoints
    points = pose.keypoints_image
    scores = pose.keypoint_scores
    for start, end in pose.skeleton.limb_indices:
        opacity = float(min(scores[start], scores[end]))
        if opacity >= _FAINTEST:
            _draw_line(canvas, points[start], points[end], _limb_colour(names[start], names[end]), thickness, opacity)
    for name, point, score in zip(names, points, scores, strict=True):
        if score >= _FAINTEST:
            _draw_line(canvas, point, point, side_colour(name), 2 * thickness + 1, float(score))


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


def _draw_ring(
    canvas: UInt8[np.ndarray, "H W 3"], center: np.ndarray, colour: Colour, radius: int, thickness: int
) -> None:
    height, width = canvas.shape[:2]
    if (center > -2 * radius).all() and (center < np.array([width, height]) + 2 * radius).all():
        x, y = np.rint(center).astype(int).tolist()
        cv2.circle(canvas, (x, y), radius, colour, thickness, cv2.LINE_AA)


def _limb_colour(start: str, end: str) -> Colour:
    sides = {side_colour(start), side_colour(end)} - {_MIDDLE}
    return sides.pop() if len(sides) == 1 else _MIDDLE


def side_colour(name: str) -> Colour:
    """What a keypoint is drawn in: orange on the person's left, blue on the right, green between."""
    if name.startswith("left_"):
        return _LEFT
    return _RIGHT if name.startswith("right_") else _MIDDLE
