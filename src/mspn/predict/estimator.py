"""Poses of the people in a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.config import TestConfig
from mspn.crop import cut_crop
from mspn.detect.protocol import Detector, Picture
from mspn.detect.whole_picture import WholePicture
from mspn.geometry import CropFrame, frame_from_box, heatmap_to_crop, transform_points
from mspn.heatmaps.decode import average_mirrored, decode
from mspn.images import read_picture
from mspn.predict.runner import Precision, Runner, choose_device
from mspn.records import Detection, Pose, check_box
from mspn.weights.checkpoint import Checkpoint
from mspn.weights.models import load_named


@dataclass(frozen=True, eq=False)
class Subject:
    """A person cut out of a picture."""

    detection: Detection
    frame: CropFrame
    crop: UInt8[np.ndarray, "H W 3"]


class PoseEstimator:
    """Finds people and estimates their keypoints.

    >>> poses = PoseEstimator()("holiday.jpg")
    >>> poses[0].keypoints["left_wrist"]  # (x, y, score)
    """

    def __init__(
        self,
        model: str | Path | Checkpoint = "default",
        detector: Detector | None = None,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        batch_size: int = 32,
        threshold: float = 0.3,
        flip: bool | None = None,
        test: TestConfig | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: name, weights file, or one that is loaded.
            detector: finds the people; None takes the whole picture for one person.
            device: auto, cpu, cuda, cuda:1, ...
            precision: auto, float32 or bfloat16, see `load_runner`.
            batch_size: people that the network sees at once.
            threshold: boxes with a lower score are left out.
            flip: average with the mirrored crop, or do not; None does as `test` says.
            test: padding, flip, filter and decoder; None takes those that belong to the weights.

        Raises:
            WeightsError: if there are no such weights.
            ValueError: for an unknown device or precision, or an empty batch.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        checkpoint = model if isinstance(model, Checkpoint) else load_named(model)
        self.recipe = checkpoint.header.recipe
        self.test = test or self.recipe.test
        if flip is not None:
            self.test = self.test.model_copy(update={"flip": flip})
        self.detector: Detector = detector or WholePicture()
        self.batch_size = batch_size
        self.threshold = threshold
        self._runner = Runner(checkpoint.model, choose_device(device), precision)

    @property
    def precision(self) -> Precision:
        """What the network computes with: float32 or bfloat16."""
        return self._runner.precision

    def __call__(self, image: UInt8[np.ndarray, "H W 3"] | str | Path) -> list[Pose]:
        """Poses of everyone in a picture, best first.

        Args:
            image: RGB pixels, or the path of a picture file.

        Raises:
            PictureError: if the file cannot be read.
            ValueError: if the array is no RGB uint8 image, or the detector gives a box that cannot be cut out.
        """
        if isinstance(image, str | Path):
            picture = Picture(str(image), read_picture(Path(image)))
        else:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"an image must be RGB uint8 (height, width, 3), not {image.dtype} {image.shape}")
            picture = Picture("", image)
        subjects = [self.cut(picture, detection) for detection in self.find(picture)]
        return sorted(self.estimate(subjects), key=lambda pose: -pose.score)

    def find(self, picture: Picture) -> list[Detection]:
        """The detector's boxes from the threshold on (a score that is no number is kept, to be refused by `cut`)."""
        return [detection for detection in self.detector.detect(picture) if not detection.score < self.threshold]

    def cut(self, picture: Picture, detection: Detection) -> Subject:
        """Cut a person out of a picture.

        Raises:
            ValueError: if the box is empty, not finite, or outside the picture.
        """
        check_box(detection.box, picture.size)
        if not 0 <= detection.score <= 1:
            raise ValueError(f"a box's score must be from 0 to 1, not {detection.score}")
        frame = frame_from_box(detection.box, self.recipe.model.input_size, self.test.padding)
        return Subject(detection, frame, cut_crop(picture.pixels, frame))

    def estimate(self, subjects: Sequence[Subject]) -> list[Pose]:
        """Poses of people who are cut out, in the same order; pictures do not matter, batches are filled."""
        poses: list[Pose] = []
        for start in range(0, len(subjects), self.batch_size):
            poses += self._estimate_batch(subjects[start : start + self.batch_size])
        return poses

    def heatmaps(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """Heat maps of crops, averaged with those of their mirror images where the test settings say so."""
        maps = self._runner(crops)
        if self.test.flip:
            mirrored = self._runner(crops.flip(2))
            order = self.recipe.keypoint_table.mirror_order
            maps = average_mirrored(maps, mirrored, order, shift=self.test.mirror_shift)
        return maps

    def _estimate_batch(self, subjects: Sequence[Subject]) -> list[Pose]:
        crops = torch.from_numpy(np.stack([subject.crop for subject in subjects]))
        decoded = decode(self.heatmaps(crops), self.test)
        keypoints_crop = heatmap_to_crop(decoded.keypoints_heatmap).cpu().double().numpy()
        scores = decoded.scores.cpu().double().numpy()
        return [
            self._pose(subject, points, values)
            for subject, points, values in zip(subjects, keypoints_crop, scores, strict=True)
        ]

    def _pose(
        self, subject: Subject, keypoints_crop: Float[np.ndarray, "K 2"], scores: Float[np.ndarray, " K"]
    ) -> Pose:
        seen = scores.clip(0, 1)
        detection = subject.detection
        return Pose(
            skeleton=self.recipe.keypoint_table,
            keypoints_image=transform_points(keypoints_crop, subject.frame.crop_to_image),
            keypoint_scores=seen,
            score=detection.score * float(seen.mean()),
            ranking_score=detection.score * float((scores + self.test.score_offset).mean()),
            box=detection.box,
            box_score=detection.score,
        )
