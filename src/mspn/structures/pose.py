"""One person's keypoints in an image."""

import difflib
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from mspn.structures.boxes import Box
from mspn.structures.shapes import Float, UInt8
from mspn.structures.skeleton import Skeleton

_COORDINATE_DIGITS = 2
_SCORE_DIGITS = 4
_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_THIGHS = ("left_hip", "right_hip", "left_knee", "right_knee")
_ALONG = np.array([0.15, 0.35, 0.55, 0.75])
"""Where colors are looked at, from shoulders to hips and from hips to knees."""
_ACROSS = np.array([-0.6, -0.2, 0.2, 0.6])
"""And from the middle of the trunk to its sides."""
_MIN_BREADTH = 0.14
"""Half that of a trunk seen from its side, of its length."""
_MIN_COLOR_SCORE = 0.3
"""Of all keypoints around."""


class CropKeypoints(NamedTuple):
    """Keypoints of a batch of people in their crops."""

    keypoints_crop: Float[np.ndarray, "B K 2"]
    """(x, y) in crop pixels, float64."""
    peaks: Float[np.ndarray, "B K"]
    """Heat-map value at the keypoint, about 0 to 1, float64, neither clipped nor offset; of decoder expected_oks the
    geometric mean of that and the similarity that it expects."""


@dataclass(frozen=True, eq=False)
class Pose:
    """One person's keypoints in an image.

    >>> import mspn, numpy as np
    >>> (pose,) = mspn.PoseEstimator("mspn-tiny", "none")(np.zeros((64, 48, 3), np.uint8))
    >>> pose.bbox
    (0.0, 0.0, 48.0, 64.0)
    >>> pose["left_wrist"].shape  # x, y, score
    (3,)
    """

    skeleton: Skeleton
    keypoints_image: Float[np.ndarray, "K 2"]
    """(x, y) in image pixels; they may lie outside the image."""
    keypoint_scores: Float[np.ndarray, " K"]
    """Of weights whose scores are calibrated (`mspn models calibrate`), how probable it is that each keypoint is right:
    within the distance at which COCO's similarity is 0.85; of others, the heat map's peak. 0 to 1."""
    score: float
    """Box score times the mean keypoint score, 0 to 1."""
    ranking_score: float
    """What average precision sorts by, see `ProtocolConfig.rescoring`: the box's score times one of the keypoints'."""
    box: Box
    """That the keypoints were estimated in, in image pixels."""
    box_score: float
    """The detector's, 0 to 1."""
    track_id: int | None = None
    """The person's number in a video, the same in all its frames; None if nobody followed the person."""
    colors: Float[np.ndarray, "2 3"] | None = None
    """What the clothes look like, for trackers: the CIELAB colors (L from 0 to 100) of trunk and thighs, NaN where they
    are not seen well; None of poses from elsewhere."""

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """(left, top, width, height) of the person's box in image pixels, as COCO writes it."""
        left, top, width, height = map(float, self.box)
        return left, top, width, height

    @property
    def keypoints(self) -> dict[str, tuple[float, float, float]]:
        """(x, y, score) by keypoint name."""
        rows = zip(self.skeleton.keypoints, self.keypoints_image, self.keypoint_scores, strict=True)
        return {name: (float(point[0]), float(point[1]), float(score)) for name, point, score in rows}

    def __getitem__(self, name: str) -> Float[np.ndarray, "3"]:
        """(x, y, score) of the keypoint of that name, x and y in image pixels.

        Raises:
            KeyError: naming close ones, if the skeleton has no such keypoint.
        """
        names = self.skeleton.keypoints
        if name not in names:
            close = difflib.get_close_matches(str(name), names)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(names)}"
            raise KeyError(f"no keypoint {name!r} in {self.skeleton.name}; {hint}")
        index = names.index(name)
        return np.array([*self.keypoints_image[index], self.keypoint_scores[index]])

    def to_dict(self) -> dict[str, Any]:
        """The pose as `predictions.json` has it: box, scores, track and category if known, (x, y, score) by keypoint.

        Coordinates are rounded to a hundredth of a pixel, scores to four digits; all values are plain Python numbers.
        """
        return {
            **({} if self.track_id is None else {"track_id": self.track_id}),
            "box": round_coordinates(*self.box),
            "box_score": round_score(self.box_score),
            "score": round_score(self.score),
            **({"category": self.skeleton.category} if self.skeleton.category else {}),
            "keypoints": {
                name: [*round_coordinates(x, y), round_score(score)] for name, (x, y, score) in self.keypoints.items()
            },
        }

    def __repr__(self) -> str:
        box = ", ".join(f"{value:.0f}" for value in self.box)
        count = len(self.skeleton.keypoints)
        track = "" if self.track_id is None else f"track_id={self.track_id}, "
        return f"Pose({track}score={self.score:.2f}, box=({box}), {count} keypoints of {self.skeleton.name})"


def clothes_colors(
    images: UInt8[np.ndarray, "N H W 3"],
    keypoints: Float[np.ndarray, "N K 2"],
    scores: Float[np.ndarray, "N K"],
    skeleton: Skeleton,
) -> Float[np.ndarray, "N 2 3"]:
    """The colors of people's trunks and thighs: CIELAB medians of a few places, NaN where a keypoint is doubtful.

    Args:
        images: RGB, one for each person, such as their crops.
        keypoints: in pixels of these.
        scores: of the keypoints.
        skeleton: of the keypoints; one without shoulders, hips and knees has no colors.
    """
    colors = np.full((len(images), 2, 3), np.nan)
    if not {*_TRUNK, *_THIGHS} <= set(skeleton.keypoints) or not len(images):
        return colors
    trunk, thighs = ([skeleton.keypoints.index(name) for name in names] for names in (_TRUNK, _THIGHS))
    left_shoulder, right_shoulder, left_hip, right_hip = np.moveaxis(keypoints[:, trunk], 1, 0)
    top, bottom = (left_shoulder + right_shoulder) / 2, (left_hip + right_hip) / 2
    spine = bottom - top
    length = np.linalg.norm(spine, axis=-1, keepdims=True).clip(min=1.0)
    side = np.stack([-spine[:, 1], spine[:, 0]], -1) / length
    shoulders = np.abs(((left_shoulder - right_shoulder) * side).sum(-1, keepdims=True)) / 2
    breadth = np.maximum(0.8 * shoulders, _MIN_BREADTH * length) * side
    places = top[:, None] + _ALONG[:, None] * spine[:, None]
    on_trunk = (places[:, :, None] + _ACROSS[:, None] * breadth[:, None, None]).reshape(len(images), -1, 2)
    hips, knees = keypoints[:, thighs[:2]], keypoints[:, thighs[2:]]
    on_thighs = (hips[:, :, None] + _ALONG[:, None] * (knees - hips)[:, :, None]).reshape(len(images), -1, 2)
    for part, (points, around) in enumerate(((on_trunk, trunk), (on_thighs, thighs))):
        is_seen = (scores[:, around] >= _MIN_COLOR_SCORE).all(1) & np.isfinite(points).all((1, 2))
        columns, rows = np.moveaxis(np.rint(np.nan_to_num(points)).astype(int), -1, 0)
        height, width = images.shape[1:3]
        pixels = images[np.arange(len(images))[:, None], rows.clip(0, height - 1), columns.clip(0, width - 1)]
        lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        colors[is_seen, part] = np.median(lab, axis=1)[is_seen]
    return colors


def round_coordinates(*coordinates: float) -> list[float]:
    """Image pixels, to a hundredth."""
    return [round(value, _COORDINATE_DIGITS) for value in coordinates]


def round_score(score: float) -> float:
    """A score from 0 to 1, to four digits."""
    return round(score, _SCORE_DIGITS)
