"""One person's keypoints in an image."""

import difflib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mspn.structures.boxes import Box
from mspn.structures.skeleton import Skeleton

_COORDINATE_DIGITS = 2
_SCORE_DIGITS = 4


class CropKeypoints(NamedTuple):
    """Keypoints of a batch of people in their crops."""

    keypoints_crop: Float[np.ndarray, "B K 2"]
    """(x, y) in crop pixels, float64."""
    peaks: Float[np.ndarray, "B K"]
    """Heat-map value at the keypoint, about 0 to 1, float64; neither clipped nor offset."""


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
    """What average precision sorts by: box score times the mean of the raw, offset peaks of the heat maps."""
    box: Box
    """That the keypoints were estimated in, in image pixels."""
    box_score: float
    """The detector's, 0 to 1."""
    track_id: int | None = None
    """The person's number in a video, the same in all its frames; None if nobody followed the person."""

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


def round_coordinates(*coordinates: float) -> list[float]:
    """Image pixels, to a hundredth."""
    return [round(value, _COORDINATE_DIGITS) for value in coordinates]


def round_score(score: float) -> float:
    """A score from 0 to 1, to four digits."""
    return round(score, _SCORE_DIGITS)
