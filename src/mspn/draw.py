"""Drawing poses and labels: limbs coloured by side, poses faded by score."""

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
_FAINTEST = 0.1
"""Keypoints with a lower score are not drawn."""
_PERSON_TO_LINE = 120
"""A limb is this many times thinner than its person is large."""
_OCCLUDED_OPACITY = 0.45
_BOX_OPACITY = 0.6


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
    or at no finite position is left out.

    Args:
        image: to draw on.
        keypoints_image: (x, y, visibility) in its pixels: 0 unlabelled, 1 occluded, 2 visible.
        skeleton: of the keypoints.
        thickness: of the limbs, in pixels.
    """
    canvas = image.copy()
    points = keypoints_image[:, :2]
    visibility = np.where(np.isfinite(points).all(1), keypoints_image[:, 2], 0)
    sides = side_colours(skeleton)
    for start, end in skeleton.limb_indices:
        if min(visibility[start], visibility[end]) > 0:
            opacity = 1.0 if min(visibility[start], visibility[end]) == 2 else _OCCLUDED_OPACITY
            _draw_line(canvas, points[start], points[end], _limb_colour(sides[start], sides[end]), thickness, opacity)
    for colour, point, seen in zip(sides, points, visibility, strict=True):
        if seen == 2:
            _draw_line(canvas, point, point, colour, 3 * thickness, 1.0)
        elif seen == 1:
            _draw_ring(canvas, point, colour, 2 * thickness + 1, thickness)
    return canvas


def draw_box(image: UInt8[np.ndarray, "H W 3"], box: Box) -> UInt8[np.ndarray, "H W 3"]:
    """Draw a labelled box on a copy of an RGB image, thin and white; one that is not finite is left out."""
    canvas = image.copy()
    left, top, right, bottom = box.left, box.top, box.left + box.width, box.top + box.height
    if np.isfinite([left, top, right, bottom]).all():
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            _draw_line(canvas, start, end, _BOX, 1, _BOX_OPACITY)
    return canvas


def line_thickness(person_size_px: float) -> int:
    """Of the limbs of a person of this size, in pixels."""
    return max(1, round(person_size_px / _PERSON_TO_LINE))


def _draw_pose(canvas: UInt8[np.ndarray, "H W 3"], pose: Pose) -> None:
    thickness = line_thickness(max(pose.box.width, pose.box.height))
    sides = side_colours(pose.skeleton)
    points = pose.keypoints_image
    scores = pose.keypoint_scores
    for start, end in pose.skeleton.limb_indices:
        opacity = float(min(scores[start], scores[end]))
        if opacity >= _FAINTEST:
            _draw_line(canvas, points[start], points[end], _limb_colour(sides[start], sides[end]), thickness, opacity)
    for colour, point, score in zip(sides, points, scores, strict=True):
        if score >= _FAINTEST:
            _draw_line(canvas, point, point, colour, 2 * thickness + 1, float(score))


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


def _limb_colour(start: Colour, end: Colour) -> Colour:
    sides = {start, end} - {_MIDDLE}
    return sides.pop() if len(sides) == 1 else _MIDDLE


def side_colours(skeleton: Skeleton) -> list[Colour]:
    """What each keypoint is drawn in: orange on the person's left, blue on the right, green between."""
    lefts, rights = zip(*skeleton.mirrored_pairs, strict=True) if skeleton.mirrored_pairs else ((), ())
    return [_LEFT if name in lefts else _RIGHT if name in rights else _MIDDLE for name in skeleton.keypoints]
