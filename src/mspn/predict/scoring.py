"""From decoded keypoints to scored poses, and which of them are kept."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mspn.config.protocol import ProtocolConfig, ScoreCalibration
from mspn.heatmaps.decode import Decoded
from mspn.structures.boxes import Detection
from mspn.structures.crop import CropFrame, heatmap_to_crop
from mspn.structures.oks import oks_nms
from mspn.structures.pose import Pose
from mspn.structures.skeleton import Skeleton

_MIN_CONFIDENT_SCORE = 0.2
"""MMPose's threshold of confident keypoints."""


def make_poses(
    detections: Sequence[Detection],
    frames: Sequence[CropFrame],
    decoded: Decoded,
    skeleton: Skeleton,
    test: ProtocolConfig,
    calibration: ScoreCalibration | None,
) -> list[Pose]:
    """Poses in image pixels of people whose heat maps are decoded, in the same order.

    Args:
        detections: the people's boxes and their scores.
        frames: of the crops that the heat maps belong to.
        decoded: keypoints in the people's heat maps.
        skeleton: names the keypoints.
        test: how peaks of heat maps rank a pose, whatever its keypoints' scores say.
        calibration: from peaks to scores; None: scores are the peaks, clipped to 0..1.
    """
    keypoints_crop = heatmap_to_crop(decoded.keypoints_heatmap).double().numpy()
    matrices = np.stack([frame.crop_to_image for frame in frames])
    keypoints_image = keypoints_crop @ matrices[:, :, :2].swapaxes(1, 2) + matrices[:, None, :, 2]
    peaks = decoded.scores.double().numpy()
    keypoint_scores = peaks.clip(0, 1) if calibration is None else calibration.scores(peaks)
    means, factors = keypoint_scores.mean(-1).tolist(), _box_factors(peaks, test).tolist()
    return [
        Pose(
            skeleton=skeleton,
            keypoints_image=keypoints,
            keypoint_scores=scores,
            score=detection.score * mean,
            ranking_score=detection.score * factor,
            box=detection.box,
            box_score=detection.score,
        )
        for detection, keypoints, scores, mean, factor in zip(
            detections, keypoints_image, keypoint_scores, means, factors, strict=True
        )
    ]


def select_poses(poses: Sequence[Pose], suppression_oks: float | None) -> list[Pose]:
    """The poses of one image, best first.

    Args:
        poses: of all boxes.
        suppression_oks: of two that are more similar than this, the one ranked lower is left out; None keeps all.
    """
    kept = poses if suppression_oks is None else oks_nms(poses, suppression_oks)
    return sorted(kept, key=lambda pose: -pose.score)


def _box_factors(peaks: Float[np.ndarray, "B K"], test: ProtocolConfig) -> Float[np.ndarray, " B"]:
    """What each box's score is multiplied with to rank its pose."""
    offset = peaks + test.score_offset
    if test.rescoring == "box_only":
        return np.ones(len(peaks))
    counted = offset > (_MIN_CONFIDENT_SCORE if test.rescoring == "confident_mean" else -np.inf)
    means: np.ndarray = np.where(counted, offset, 0.0).sum(-1) / counted.sum(-1).clip(min=1)
    return means
