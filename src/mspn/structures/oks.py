"""Object keypoint similarity (OKS), and non-maximum suppression by it."""

from collections.abc import Sequence

import numpy as np

from mspn.structures.pose import Pose
from mspn.structures.shapes import Float


def keypoint_similarity(
    distance_px: Float[np.ndarray, "*any K"],
    area_px: float | Float[np.ndarray, "*any 1"],
    sigmas: Float[np.ndarray, " K"],
) -> Float[np.ndarray, "*any K"]:
    """1 on the spot, 0.61 at a distance of 2 sigma sqrt(area), falling off as a Gaussian does.

    Source: COCO's keypoint evaluation; a keypoint's constant there is twice its sigma.
    """
    falloff: Float[np.ndarray, "*any K"] = np.exp(-(distance_px**2) / (2 * area_px * (2 * sigmas) ** 2))
    return falloff


def oks_nms(poses: Sequence[Pose], threshold: float) -> list[Pose]:
    """Non-maximum suppression by OKS: from the highest rank down, keep poses that resemble none kept before.

    The similarity of two poses is the mean over all keypoints, for the mean area of their boxes.

    Args:
        poses: of one image and one skeleton.
        threshold: highest OKS of two kept poses.

    Returns:
        The kept ones, highest rank first.

    Source: HRNet and MMPose. Their areas are of the padded crops, ours of the boxes, so that the crop's shape does not
    matter.
    """
    ranked = sorted(poses, key=lambda pose: -pose.ranking_score)
    is_kept = np.ones(len(ranked), bool)
    for index, pose in enumerate(ranked[:-1]):
        if is_kept[index]:
            is_kept[index + 1 :] &= _pairwise_oks(pose, ranked[index + 1 :]) <= threshold
    return [pose for pose, kept in zip(ranked, is_kept, strict=True) if kept]


def _pairwise_oks(pose: Pose, candidates: Sequence[Pose]) -> Float[np.ndarray, " N"]:
    distances = np.linalg.norm(
        np.stack([candidate.keypoints_image for candidate in candidates]) - pose.keypoints_image, axis=-1
    )
    areas = np.array([candidate.box.width * candidate.box.height for candidate in candidates])
    mean_areas = (areas + pose.box.width * pose.box.height) / 2
    similarities = keypoint_similarity(distances, mean_areas[:, None], np.array(pose.skeleton.sigmas))
    return np.asarray(similarities.mean(-1))
