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
    is_kept = np.ones(len(ranked), bool)
    for place, pose in enumerate(ranked[:-1]):
        if is_kept[place]:
            is_kept[place + 1 :] &= _similarities(pose, ranked[place + 1 :]) <= most_similar
    return [pose for pose, kept in zip(ranked, is_kept, strict=True) if kept]


def _similarities(pose: Pose, others: Sequence[Pose]) -> Float[np.ndarray, " N"]:
    """Object keypoint similarity of a pose to each other one, over all keypoints, for the mean area of the two boxes.

    Source: COCO's formula as HRNet's and MMPose's suppression use it. Their areas are of the padded crops; these are of
    the boxes themselves, so that the crop's shape does not matter.
    """
    keypoints = np.stack([other.keypoints_image for other in others])
    squared_distances = ((keypoints - pose.keypoints_image) ** 2).sum(-1)  # (N, K)
    areas = np.array([other.box.width * other.box.height for other in others])
    mean_areas = (areas + pose.box.width * pose.box.height) / 2
    variances = (2 * np.array(pose.skeleton.sigmas)) ** 2
    similarities: np.ndarray = np.exp(-squared_distances / (2 * variances * mean_areas[:, None])).mean(-1)
    return similarities
