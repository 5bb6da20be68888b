"""Leaving out poses that show somebody a second time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mspn.records import Pose


def without_duplicates(poses: Sequence[Pose], most_similar: float) -> list[Pose]:
    """Go through a picture's poses from the highest rank down, and keep those that resemble none kept before.

    Args:
        poses: of one picture and one skeleton.
        most_similar: two poses that are kept have at most this object keypoint similarity.

    Returns:
        The kept ones, highest rank first.
    """
    ranked = sorted(poses, key=lambda pose: -pose.ranking_score)
    if len(ranked) < 2:
        return ranked
    similar = _similarities(ranked) > most_similar
    is_kept = np.ones(len(ranked), bool)
    for place in range(len(ranked)):
        if is_kept[place]:
            is_kept[place + 1 :] &= ~similar[place, place + 1 :]
    return [pose for pose, kept in zip(ranked, is_kept, strict=True) if kept]


def _similarities(poses: Sequence[Pose]) -> Float[np.ndarray, "N N"]:
    """Object keypoint similarity of each pair, over all keypoints, for the mean area of the two boxes.

    Source: COCO's formula as HRNet's and MMPose's suppression use it. Their areas are of the padded crops; these are of
    the boxes themselves, so that the crop's shape does not matter.
    """
    keypoints = np.stack([pose.keypoints_image for pose in poses])
    areas = np.array([pose.box.width * pose.box.height for pose in poses])
    squared_distances = ((keypoints[:, None] - keypoints[None]) ** 2).sum(-1)  # (N, N, K)
    variances = (2 * np.array(poses[0].skeleton.sigmas)) ** 2
    mean_areas = (areas[:, None] + areas[None]) / 2
    similarities: np.ndarray = np.exp(-squared_distances / (2 * variances * mean_areas[..., None])).mean(-1)
    return similarities
