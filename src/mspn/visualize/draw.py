"""Drawing poses and labels: limbs in a theme's colors, fainter for lower scores; trails of where people have been."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from mspn.structures.boxes import Box
from mspn.structures.pose import Pose
from mspn.structures.shapes import Bool, Float, UInt8
from mspn.structures.skeleton import FACE, Skeleton
from mspn.visualize.themes import DEFAULT_THEME, Color, Theme, color_skeleton, find_theme, track_color

_SHIFT = 4
"""Coordinates are handed to OpenCV in sixteenths of a pixel."""
_SMOOTHING_PX = 1.4
"""OpenCV's anti-aliasing adds this to the width of a polygon."""
_MAX_OPACITY = 255


class Overlay:
    """A transparent layer over a part of an image.

    Later strokes replace earlier ones, opacity included; only `blend_into` blends with the image.
    Points are (x, y) in pixels of the image.
    """

    def __init__(self, left: int, top: int, right: int, bottom: int) -> None:
        """Start with an empty overlay; right and bottom are exclusive."""
        self._region = np.s_[top:bottom, left:right]
        self._left, self._top = left, top
        self._drawn = np.zeros((bottom - top, right - left, 4), np.uint8)

    def draw_line(
        self, start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"], width: float, color: Color, opacity: float
    ) -> None:
        """Draw a line with straight ends; the minimum width is about two pixels."""
        (x1, y1), (x2, y2) = start.tolist(), end.tolist()
        length = math.hypot(x2 - x1, y2 - y1)
        if length > 0:
            # Plain numbers are several times faster than arrays of two, and a frame has hundreds of lines.
            half = max(width - _SMOOTHING_PX, 0) / 2 / length
            right, down = (y1 - y2) * half, (x2 - x1) * half
            corners = (
                (x1 + right, y1 + down),
                (x2 + right, y2 + down),
                (x2 - right, y2 - down),
                (x1 - right, y1 - down),
            )
            fixed = np.array([self._fixed_point(x, y) for x, y in corners], np.int32)
            cv2.fillConvexPoly(self._drawn, fixed, _rgba(color, opacity), cv2.LINE_AA, _SHIFT)

    def draw_disc(self, center: Float[np.ndarray, "2"], radius: float, color: Color, opacity: float) -> None:
        self._draw_circle(center, radius - _SMOOTHING_PX / 2, cv2.FILLED, color, opacity)

    def draw_ring(
        self, center: Float[np.ndarray, "2"], radius: float, thickness: int, color: Color, opacity: float
    ) -> None:
        self._draw_circle(center, radius, thickness, color, opacity)

    def blend_into(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Blend what was drawn into the image, in place."""
        below = image[self._region]
        opacity = cv2.cvtColor(cv2.extractChannel(self._drawn, 3), cv2.COLOR_GRAY2RGB)
        above = cv2.multiply(cv2.cvtColor(self._drawn, cv2.COLOR_RGBA2RGB), opacity, scale=1 / _MAX_OPACITY)
        below[:] = cv2.add(above, cv2.multiply(below, cv2.bitwise_not(opacity), scale=1 / _MAX_OPACITY))

    def _draw_circle(
        self, center: Float[np.ndarray, "2"], radius: float, thickness: int, color: Color, opacity: float
    ) -> None:
        x, y = center.tolist()
        fixed_radius = max(round(radius * 2**_SHIFT), 0)
        cv2.circle(
            self._drawn, self._fixed_point(x, y), fixed_radius, _rgba(color, opacity), thickness, cv2.LINE_AA, _SHIFT
        )

    def _fixed_point(self, x: float, y: float) -> tuple[int, int]:
        """Overlay coordinates in OpenCV's fixed-point format."""
        return round((x - self._left) * 2**_SHIFT), round((y - self._top) * 2**_SHIFT)


def _rgba(color: Color, opacity: float) -> tuple[int, int, int, int]:
    return (*color, round(_MAX_OPACITY * opacity))


_BOX_COLOR: Color = (255, 255, 255)
_BOX_OPACITY = 0.6
_OUTLINE_COLOR: Color = (0, 0, 0)
_FULL_SCORE_RANGE, _FULL_TO_BEST_SCORE = (0.35, 0.6), 1.75
"""Keypoints are drawn at full strength from this multiple of the image's highest score on, within this range: the best
of a network whose scores all are low are seen, and an image where nobody is stays empty."""
_SHOWN_TO_FULL_SCORE = 1 / 6
"""Keypoints with lower scores are not drawn."""
_OPACITY_RANGE = (0.15, 1.0)
"""Opacity rises linearly from the lowest score that is drawn to that of full strength."""
_OCCLUDED_OPACITY = 0.45
_PERSON_TO_LINE = 100
"""Ratio of a person's size to the thickness of the limbs."""
_POSE_TO_PERSON = 1.3
"""Maximum ratio of a person's size to the pose's, since the box may be the full image."""
_OUTLINE_TO_LINE, _MIN_OUTLINE_PX = 0.25, 0.3
_FACE_TO_BODY = 0.6
"""Scale of joints and limbs of the face, which lie close together."""
_MAX_COORDINATE_PX = 1e6
"""Keypoints farther away are not drawn."""
_FONT = cv2.FONT_HERSHEY_DUPLEX
_PERSON_TO_DIGIT, _DIGIT_RANGE_PX = 14, (11, 48)
"""Ratio of a person's size to the height of the digits of their track's number, within this range."""
_FONT_HEIGHT_PX = 22
"""Of digits, at scale 1."""


@dataclass(frozen=True, eq=False)
class _Figure:
    """One person to draw."""

    skeleton: Skeleton
    points_image: Float[np.ndarray, "K 2"]
    joint_opacities: Float[np.ndarray, " K"]
    """0: neither the joint nor its limbs are drawn."""
    limb_opacities: Float[np.ndarray, " L"]
    is_ring: Bool[np.ndarray, " K"]
    width: float
    """Of limbs, in pixels."""
    radius: float
    """Of discs."""


class _Limb(NamedTuple):
    start: Float[np.ndarray, "2"]
    end: Float[np.ndarray, "2"]
    width: float
    color: Color
    opacity: float


class _Joint(NamedTuple):
    center: Float[np.ndarray, "2"]
    radius: float
    is_ring: bool
    color: Color
    opacity: float


def draw_poses(
    image: UInt8[np.ndarray, "H W 3"],
    poses: Sequence[Pose],
    theme: Theme | str = DEFAULT_THEME,
    *,
    with_boxes: bool = False,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw skeletons on a copy of an RGB image: fainter for lower scores, with the best person on top.

    The number of a person's track stands above the person. Full strength is at a score of 0.6, or lower where the
    image's highest is below 0.35.

    >>> import mspn
    >>> image = np.zeros((64, 48, 3), np.uint8)
    >>> draw_poses(image, mspn.PoseEstimator("mspn-tiny", "none")(image)).shape
    (64, 48, 3)

    Args:
        image: to draw on.
        poses: in its pixels.
        theme: colors, or the name of one of `THEMES`. Themes that color by person go by the numbers of tracks, or
            else from left to right.
        with_boxes: draw boxes too.

    Raises:
        ValueError: if there is no theme of that name.
    """
    theme = find_theme(theme) if isinstance(theme, str) else theme
    canvas = image.copy() if theme.brightness == 1 else cv2.convertScaleAbs(image, alpha=theme.brightness)
    from_left = sorted(poses, key=lambda pose: pose.box.center)
    full_score = _full_score(poses)
    for person, pose in sorted(enumerate(from_left), key=lambda numbered: numbered[1].score):
        if with_boxes:
            _draw_box(canvas, pose.box)
        figure = _pose_figure(pose, full_score)
        number = person if pose.track_id is None else pose.track_id
        _draw_figure(canvas, figure, theme, number)
        if pose.track_id is not None:
            _draw_number(canvas, pose, track_color(pose.track_id))
    return canvas


def draw_labels(
    image: UInt8[np.ndarray, "H W 3"],
    keypoints_image: Float[np.ndarray, "K 3"],
    skeleton: Skeleton,
    *,
    thickness: float,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw one person's labels on a copy of an RGB image: left orange, right blue, green between.

    A visible keypoint is a disc, an occluded one a ring; limbs with an occluded end are fainter. Unlabeled
    keypoints and those without a finite position are not drawn.

    Args:
        image: to draw on.
        keypoints_image: (x, y, visibility) in its pixels: 0 unlabeled, 1 occluded, 2 visible.
        skeleton: of the keypoints.
        thickness: of the limbs, in pixels.
    """
    canvas = image.copy()
    visibility = keypoints_image[:, 2]
    limb_visibility = np.array([min(visibility[start], visibility[end]) for start, end in skeleton.limb_indices])
    figure = _Figure(
        skeleton,
        keypoints_image[:, :2],
        joint_opacities=np.where(visibility > 0, 1.0, 0.0),
        limb_opacities=np.where(limb_visibility == 2, 1.0, _OCCLUDED_OPACITY),
        is_ring=visibility == 1,
        width=thickness,
        radius=1.5 * thickness + 0.7,
    )
    _draw_figure(canvas, figure, DEFAULT_THEME, 0)
    return canvas


def draw_box(image: UInt8[np.ndarray, "H W 3"], box: Box) -> UInt8[np.ndarray, "H W 3"]:
    """Draw a box on a copy of an RGB image, thin and white; a box that is not finite is not drawn."""
    canvas = image.copy()
    _draw_box(canvas, box)
    return canvas


def line_thickness(person_size_px: float) -> float:
    """Thickness of the limbs of a person of this size, in pixels."""
    return max(1.0, person_size_px / _PERSON_TO_LINE)


def _full_score(poses: Sequence[Pose]) -> float:
    """The score from which keypoints are drawn at full strength."""
    best = max((float(np.nan_to_num(pose.keypoint_scores).max()) for pose in poses), default=0.0)
    return float(np.clip(_FULL_TO_BEST_SCORE * best, *_FULL_SCORE_RANGE))


def _pose_figure(pose: Pose, full_score: float) -> _Figure:
    points, scores = pose.keypoints_image, pose.keypoint_scores
    size = min(max(pose.box.width, pose.box.height), _POSE_TO_PERSON * float(np.ptp(points, axis=0).max()))
    width = line_thickness(size)
    opacities = np.interp(scores, (_SHOWN_TO_FULL_SCORE * full_score, full_score), _OPACITY_RANGE, left=0.0)
    limbs = np.array([min(opacities[start], opacities[end]) for start, end in pose.skeleton.limb_indices])
    return _Figure(pose.skeleton, points, opacities, limbs, np.zeros(len(points), bool), width, radius=width + 0.7)


def _draw_figure(canvas: UInt8[np.ndarray, "H W 3"], figure: _Figure, theme: Theme, person: int) -> None:
    """Draw limbs below joints, faint limbs below strong ones, and outlines below everything."""
    limbs, joints = _color_figure(figure, theme, person)
    outline = _MIN_OUTLINE_PX + _OUTLINE_TO_LINE * figure.width
    overlay = _overlay_around(
        canvas,
        np.array([joint.center for joint in joints]),
        margin=max((joint.radius for joint in joints), default=0) + figure.width + outline,
    )
    if overlay is None:
        return
    outline_opacity = theme.outline_opacity
    for limb in limbs:
        overlay.draw_line(
            limb.start, limb.end, limb.width + 2 * outline, _OUTLINE_COLOR, outline_opacity * limb.opacity
        )
    for joint in joints:
        if not joint.is_ring:
            overlay.draw_disc(joint.center, joint.radius + outline, _OUTLINE_COLOR, outline_opacity * joint.opacity)
    for limb in limbs:
        overlay.draw_line(limb.start, limb.end, limb.width, limb.color, limb.opacity)
    for joint in joints:
        if joint.is_ring:
            overlay.draw_ring(joint.center, joint.radius, round(figure.width), joint.color, joint.opacity)
        else:
            overlay.draw_disc(joint.center, joint.radius, joint.color, joint.opacity)
    overlay.blend_into(canvas)


def _color_figure(figure: _Figure, theme: Theme, person: int) -> tuple[list[_Limb], list[_Joint]]:
    """Limbs, the strongest last, and visible joints."""
    skeleton, points = figure.skeleton, figure.points_image
    is_drawable = (abs(np.nan_to_num(points, nan=np.inf)) <= _MAX_COORDINATE_PX).all(1)
    is_shown = is_drawable & (figure.joint_opacities > 0)
    joint_colors, limb_colors = color_skeleton(theme, skeleton, person)
    scales = [_FACE_TO_BODY if name in FACE else 1.0 for name in skeleton.keypoints]
    limbs = [
        _Limb(points[start], points[end], figure.width * min(scales[start], scales[end]), color, opacity)
        for (start, end), color, opacity in zip(
            skeleton.limb_indices, limb_colors, figure.limb_opacities.tolist(), strict=True
        )
        if is_shown[start] and is_shown[end]
    ]
    radii = np.where(figure.is_ring, 2 * figure.width + 1, figure.radius) * scales
    joints = [
        _Joint(points[index], float(radii[index]), bool(figure.is_ring[index]), joint_colors[index], float(opacity))
        for index, opacity in enumerate(figure.joint_opacities)
        if is_shown[index]
    ]
    return sorted(limbs, key=lambda limb: limb.opacity), joints


def _draw_number(canvas: UInt8[np.ndarray, "H W 3"], pose: Pose, color: Color) -> None:
    """Write the number of a pose's track above its box, inside the image."""
    text = str(pose.track_id)
    height = float(np.clip(max(pose.box.width, pose.box.height) / _PERSON_TO_DIGIT, *_DIGIT_RANGE_PX))
    scale, thickness = height / _FONT_HEIGHT_PX, max(1, round(height / 10))
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    left = np.clip(pose.box.center[0] - width / 2, 0, max(canvas.shape[1] - width, 0))
    bottom = np.clip(pose.box.top - height / 4, height + thickness, canvas.shape[0] - 1)
    position = (round(float(left)), round(float(bottom)))
    cv2.putText(canvas, text, position, _FONT, scale, _OUTLINE_COLOR, thickness + max(2, thickness), cv2.LINE_AA)
    cv2.putText(canvas, text, position, _FONT, scale, color, thickness, cv2.LINE_AA)


def _draw_box(canvas: UInt8[np.ndarray, "H W 3"], box: Box) -> None:
    corners = np.array(
        [
            (box.left, box.top),
            (box.left + box.width, box.top),
            (box.left + box.width, box.top + box.height),
            (box.left, box.top + box.height),
        ]
    )
    if not (abs(np.nan_to_num(corners, nan=np.inf)) <= _MAX_COORDINATE_PX).all():
        return
    overlay = _overlay_around(canvas, corners, margin=2)
    if overlay is not None:
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            overlay.draw_line(start, end, 1, _BOX_COLOR, _BOX_OPACITY)
        overlay.blend_into(canvas)


def _overlay_around(
    canvas: UInt8[np.ndarray, "H W 3"], points: Float[np.ndarray, "N 2"], margin: float
) -> Overlay | None:
    """An overlay over the part of the canvas that holds the points; None if that is empty."""
    if not len(points):
        return None
    height, width = canvas.shape[:2]
    left, top = np.clip(np.floor(points.min(0) - margin), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(points.max(0) + margin) + 1, 0, (width, height)).astype(int).tolist()
    return Overlay(left, top, right, bottom) if left < right and top < bottom else None


_TRAIL_SECONDS = 1.0
_MAX_TRAIL_COORDINATE_PX = 30_000
"""OpenCV's lines take no points farther away."""


class Trails:
    """The way that the feet of each track's box have gone in the last second of a video."""

    def __init__(self) -> None:
        self._places: dict[int, list[tuple[float, tuple[float, float]]]] = {}
        """Times and places (x, y) by track."""

    def draw(
        self, image: UInt8[np.ndarray, "H W 3"], poses: Sequence[Pose], seconds: float
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Add the next frame, and draw the trails of the tracks that it has on a copy of it.

        Args:
            image: the frame.
            poses: in its pixels; those without a track have no trail.
            seconds: of the frame in its video.
        """
        canvas = image.copy()
        for track_id in list(self._places):
            recent = [place for place in self._places[track_id] if seconds - place[0] <= _TRAIL_SECONDS]
            self._places[track_id] = recent
            if not recent:
                del self._places[track_id]
        for pose in poses:
            left, top, width, height = pose.box
            foot = (left + width / 2, top + height)
            if pose.track_id is None or not max(map(abs, foot)) < _MAX_TRAIL_COORDINATE_PX:
                continue
            trail = self._places.setdefault(pose.track_id, [])
            trail.append((seconds, foot))
            points = np.rint(np.array([place for _, place in trail]) * 2**_SHIFT).astype(np.int32)
            thickness = 1 + round(line_thickness(max(width, height)))
            cv2.polylines(canvas, [points], False, track_color(pose.track_id), thickness, cv2.LINE_AA, _SHIFT)
        return canvas
