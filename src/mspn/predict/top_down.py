"""The top-down steps: detect people, crop them, predict heat maps, decode keypoints, score and select poses."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from mspn.checkpoints.hub import find_weights
from mspn.config.protocol import PREDICTION_SUPPRESSION_OKS, ProtocolConfig, ScoreCalibration
from mspn.detectors import detector_for
from mspn.detectors.base import MAX_SIDE, Detector, checked_detections
from mspn.detectors.slices import MAX_SLICES
from mspn.errors import InvalidValueError
from mspn.inference.devices import Engine, Precision
from mspn.inference.exported import ExportedModel, ExportedNetwork, load_pose_model
from mspn.predict.ensemble import Ensemble, Member, PersonCrop
from mspn.structures.boxes import Detection, check_box
from mspn.structures.crop import CropFrame, cut_crop
from mspn.structures.image import Image
from mspn.structures.oks import oks_nms
from mspn.structures.pose import CropKeypoints, Pose, clothes_colors
from mspn.structures.settings import Settings
from mspn.structures.shapes import Float
from mspn.structures.skeleton import Skeleton

if TYPE_CHECKING:
    from torch import Tensor

    from mspn.checkpoints.format import Checkpoint
    from mspn.inference.runner import Runner


class TopDownConfig(Settings):
    """What `TopDown` is built from: plain values, so that it can be pickled and loaded in another process."""

    models: tuple[str | Path, ...] = ("default",)
    """Names or weights files; the heat maps of several are averaged, and the first says how maps become poses."""
    ensemble_weights: tuple[float, ...] | None = None
    """Weight of each model in the average; null: equal."""
    detector: str = "default"
    """As `make_detector` takes it."""
    detector_size: int | None = Field(None, ge=32, le=MAX_SIDE, multiple_of=32)
    """Pixels of the longer side that the detector sees images at; null: what it was trained for."""
    detector_slices: int = Field(1, ge=1, le=MAX_SLICES)
    """Slices along an image's longer side in which the detector looks for people, too; 1: in the whole image alone."""
    test: ProtocolConfig | None = None
    """Padding, flip, filter and decoder; null: those of each model's recipe."""
    flip: bool | None = None
    """Average with the mirrored crop; null: as `test` says."""
    device: str = "auto"
    precision: Precision = "auto"
    engine: Engine = "auto"
    """What computes the heat maps, see `load_runner`."""
    batch_size: int = Field(32, ge=1)
    """People that a network sees at once."""
    threshold: float = Field(0.3, ge=0, le=1)
    """Lowest score of a detection."""
    suppression_oks: float | None = Field(PREDICTION_SUPPRESSION_OKS, gt=0, le=1)
    """Of two poses in an image that are more similar than this (OKS), the one ranked lower is left out, unless the
    protocol has a threshold of its own; null: only where it has. A person whom the detector found twice is two nearly
    equal poses, whose boxes NMS lets pass."""


class TopDown:
    """The steps from an image to poses; `predict_images` runs them on many images at once.

    Exported networks that give keypoints run without torch, which is imported for others alone.
    """

    def __init__(
        self,
        config: TopDownConfig,
        *,
        checkpoints: "Sequence[Checkpoint | ExportedModel] | None" = None,
        detector: Detector | None = None,
    ) -> None:
        """Load the networks and the detector.

        Args:
            config: names and settings.
            checkpoints: loaded networks, of weights or exported, in place of `config.models`.
            detector: in place of `config.detector`.

        Raises:
            WeightsError: if there are no such weights.
            DetectorError: if there is no such detector, or the default one for a network of anything but people.
            ValueError: for an unknown device, precision or engine, or models that cannot be averaged.
        """
        members = []
        for checkpoint in checkpoints or [
            load_pose_model(find_weights(model), config.precision) for model in config.models
        ]:
            recipe = checkpoint.metadata.recipe
            test = config.test or recipe.test
            if config.flip is not None:
                test = test.model_copy(update={"flip": config.flip})
            calibration = checkpoint.metadata.score_calibration
            if test.rescoring == "predicted_oks" and (calibration is None or calibration.oks_predictor is None):
                test = test.model_copy(update={"rescoring": "weighted_mean"})  # so that reports say what ranks
            runner = _make_runner(checkpoint, test, config)
            members.append(Member(recipe, test, runner, calibration))
        self.ensemble = Ensemble(members, config.ensemble_weights)
        self.detector = detector or detector_for(
            config.detector,
            self.ensemble.leader.recipe,
            config.device,
            side=config.detector_size,
            slices=config.detector_slices,
        )
        self.batch_size = config.batch_size
        self.threshold = config.threshold
        protocol = self.ensemble.leader.test.suppression_oks
        self.suppression_oks = config.suppression_oks if protocol is None else protocol

    @property
    def detected_at_once(self) -> int:
        """How many threads may call `detect` side by side: one, unless the detector has `images_at_once`."""
        return getattr(self.detector, "images_at_once", 1)

    @property
    def estimated_at_once(self) -> int:
        """How many threads are to call `estimate` side by side: two where a runtime shares its threads among them."""
        runners = [member.runner for member in self.ensemble.members]
        return 2 if all(isinstance(runner, ExportedNetwork) and runner.shares_threads for runner in runners) else 1

    def detect(self, image: Image, min_score: float | None = None) -> list[Detection]:
        """The detector's boxes with at least a score (NaN is kept, to be refused by `crop`).

        Args:
            image: to search.
            min_score: None: the threshold.

        Raises:
            ValueError: if the detector gives anything but detections.
        """
        lowest = self.threshold if min_score is None else min_score
        detections = checked_detections(self.detector, image)
        return [detection for detection in detections if not detection.score < lowest]

    def crop(self, image: Image, detection: Detection) -> PersonCrop:
        """Cut a person out of an image, once for each network.

        Raises:
            ValueError: if the box is empty, not finite, or outside the image, or its score is not from 0 to 1.
        """
        check_box(detection.box, image.size)
        if not 0 <= detection.score <= 1:
            raise InvalidValueError(f"a box's score must be from 0 to 1, not {detection.score}")
        frames = self.ensemble.frames(detection.box, image.size)
        crops = {frame: cut_crop(image.pixels, frame) for frame in set(frames)}
        return PersonCrop(detection, frames, tuple(crops[frame] for frame in frames))

    def predict_heatmaps(self, people: Sequence[PersonCrop]) -> 'Float[Tensor, "B K h w"]':
        """Heat maps of one batch of people, averaged over networks and mirrored crops; peak 1."""
        from mspn.predict.heatmaps import ensemble_heatmaps, stack_crops  # noqa: PLC0415 (torch)

        crops = [stack_crops(people, network) for network in range(len(self.ensemble.members))]
        return ensemble_heatmaps(self.ensemble, crops, _frames_by_network(people))

    def predict_keypoints(self, people: Sequence[PersonCrop]) -> CropKeypoints:
        """Keypoints of one batch of people in their crops, from heat maps unless the network gives them itself."""
        leader = self.ensemble.leader
        if isinstance(leader.runner, ExportedNetwork) and leader.runner.gives_keypoints:
            return leader.runner.keypoints(np.stack([person.crops[0] for person in people]))
        return self._decode(self.predict_heatmaps(people))

    def decode(self, people: Sequence[PersonCrop], heatmaps: 'Float[Tensor, "B K h w"]') -> list[Pose]:
        """Poses in image pixels from a batch's heat maps, in the same order."""
        return self._make_poses(people, self._decode(heatmaps))

    def _decode(self, heatmaps: 'Float[Tensor, "B K h w"]') -> CropKeypoints:
        from mspn.heatmaps.decode import decode  # noqa: PLC0415 (torch)

        leader = self.ensemble.leader
        return decode(heatmaps, leader.test, leader.recipe.keypoint_table.sigmas).in_crop()

    def _make_poses(self, people: Sequence[PersonCrop], found: CropKeypoints) -> list[Pose]:
        leader = self.ensemble.leader
        detections = [person.detection for person in people]
        frames = _frames_by_network(people)[0]
        skeleton = leader.recipe.keypoint_table
        poses = make_poses(detections, frames, found, skeleton, leader.test, leader.calibration)
        crops = np.stack([person.crops[0] for person in people])
        scores = np.stack([pose.keypoint_scores for pose in poses])
        colors = clothes_colors(crops, found.keypoints_crop, scores, skeleton)
        return [replace(pose, colors=seen) for pose, seen in zip(poses, colors, strict=True)]

    def estimate(self, people: Sequence[PersonCrop]) -> list[Pose]:
        """Poses of people of any images, in the same order, in batches of `batch_size`."""
        poses: list[Pose] = []
        for start in range(0, len(people), self.batch_size):
            batch = people[start : start + self.batch_size]
            poses += self._make_poses(batch, self.predict_keypoints(batch))
        return poses

    def select(self, poses: Sequence[Pose]) -> list[Pose]:
        """The poses of one image, best first, without duplicates."""
        return select_poses(poses, self.suppression_oks)


def _make_runner(
    checkpoint: "Checkpoint | ExportedModel", test: ProtocolConfig, config: TopDownConfig
) -> "Runner | ExportedNetwork":
    if isinstance(checkpoint, ExportedModel):
        checkpoint.network.check_choice(config.engine, config.precision, config.device)
        checkpoint.network.check_test(test)
        return checkpoint.network
    from mspn.predict.heatmaps import make_runner  # noqa: PLC0415 (torch)

    return make_runner(checkpoint, config.device, config.precision, config.engine)


def _frames_by_network(people: Sequence[PersonCrop]) -> list[tuple[CropFrame, ...]]:
    return list(zip(*(person.frames for person in people), strict=True))


_MIN_CONFIDENT_SCORE = 0.2
"""MMPose's threshold of confident keypoints."""
_SMALLEST_SUM = 1e-9
_OKS_POWER = 2
"""The predicted OKS says more about the order of poses than a detector's score does: in the boxes of our detector, AP
on `coco_sample` is higher with its square than without. In labeled boxes it changes nothing."""


def make_poses(
    detections: Sequence[Detection],
    frames: Sequence[CropFrame],
    found: CropKeypoints,
    skeleton: Skeleton,
    test: ProtocolConfig,
    calibration: ScoreCalibration | None,
) -> list[Pose]:
    """Poses in image pixels of people whose keypoints are found in their crops, in the same order.

    Args:
        detections: the people's boxes and their scores.
        frames: of the crops.
        found: keypoints in the crops.
        skeleton: names the keypoints.
        test: what ranks a pose.
        calibration: from peaks to scores; None: scores are the peaks, clipped to 0..1. With an OKS predictor where
            that ranks poses.
    """
    matrices = np.stack([frame.crop_to_image for frame in frames])
    keypoints_image = found.keypoints_crop @ matrices[:, :, :2].swapaxes(1, 2) + matrices[:, None, :, 2]
    keypoint_scores = found.peaks.clip(0, 1) if calibration is None else calibration.scores(found.peaks)
    means = keypoint_scores.mean(-1).tolist()
    factors = _box_factors(found, keypoint_scores, skeleton, test, calibration).tolist()
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


def _box_factors(
    found: CropKeypoints,
    scores: Float[np.ndarray, "B K"],
    skeleton: Skeleton,
    test: ProtocolConfig,
    calibration: ScoreCalibration | None,
) -> Float[np.ndarray, " B"]:
    """What each box's score is multiplied with to rank its pose."""
    predictor = None if calibration is None else calibration.oks_predictor
    if test.rescoring == "predicted_oks" and predictor is not None:
        return predictor.predict(found.keypoints_crop, found.peaks, skeleton.mirror_order) ** _OKS_POWER
    if test.rescoring == "box_only":
        return np.ones(len(scores))
    if test.rescoring in ("weighted_mean", "predicted_oks"):
        weighted: np.ndarray = (scores**2).sum(-1) / scores.sum(-1).clip(min=_SMALLEST_SUM)
        return weighted
    offset = found.peaks + test.score_offset
    counted = offset > (_MIN_CONFIDENT_SCORE if test.rescoring == "confident_mean" else -np.inf)
    means: np.ndarray = np.where(counted, offset, 0.0).sum(-1) / counted.sum(-1).clip(min=1)
    return means
