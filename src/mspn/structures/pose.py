"""One person's keypoints in an image."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mspn.structures.boxes import Box
from mspn.structures.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Pose:
    """One person's keypoints in an image."""

    skeleton: Skeleton
    keypoints_image: Float[np.ndarray, "K 2"]
    """(x, y) in image pixels; they may lie outside the image."""
    keypoint_scores: Float[np.ndarray, " K"]
    """Heat-map value at each keypoint, clipped to 0..1."""
    score: float
    """Box score times the mean keypoint score, 0 to 1."""
    ranking_score: float
    """What average precision sorts by: box score times the mean of the raw, offset keypoint scores."""
    box: Box
    box_score: float

    @property
    def keypoints(self) -> dict[str, tuple[float, float, float]]:
        """(x, y, score) by keypoint name."""
        rows = zip(self.skeleton.keypoints, self.keypoints_image, self.keypoint_scores, strict=True)
        return {name: (float(point[0]), float(point[1]), float(score)) for name, point, score in rows}
