"""Poses of the people in a picture."""

from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.config import Recipe, TestConfig
from mspn.crop import cut_crop
from mspn.detect.by_name import make_detector
from mspn.detect.own_class import check_detector
from mspn.detect.protocol import Detector
from mspn.devices import Precision, choose_device
from mspn.geometry import CropFrame
from mspn.heatmaps.decode import decode
from mspn.images import read_picture
from mspn.picture import Picture
from mspn.predict.engines import Engine
from mspn.predict.ensemble import Ensemble, Member
from mspn.predict.pipeline import PictureResult, predict_pictures
from mspn.predict.poses import make_poses
from mspn.predict.runner import Runner
from mspn.predict.subject import Subject
from mspn.predict.suppression import without_duplicates
from mspn.records import Detection, Pose, check_box
from mspn.sources.arrays import PillowImage, read_in_memory
from mspn.sources.find import Source
from mspn.sources.open import open_sources
from mspn.weights.checkpoint import Checkpoint
from mspn.weights.models import load_named

Model = str | Path | Checkpoint
"""Name, weights file, or one that is loaded."""


class PoseEstimator:
    """Finds people and estimates their keypoints.

    >>> poses = PoseEstimator()("holiday.jpg")
    >>> poses[0].keypoints["left_wrist"]  # (x, y, score)
    """

    def __init__(
        self,
        model: Model | Sequence[Model] = "default",
        detector: Detector | str | Path = "default",
        *,
        device: str = "auto",
        precision: Precision = "auto",
        engine: Engine = "torch",
        batch_size: int = 32,
        threshold: float = 0.3,
        flip: bool | None = None,
        test: TestConfig | None = None,
        ensemble_weights: Sequence[float] | None = None,
    ) -> None:
        """Load a model, or several whose heat maps are averaged; the first of them says how maps become poses.

        Args:
            model: name, weights file, or one that is loaded; or a list of them.
            detector: finds the people, or the name or file of what does, see `make_detector`: "default" is our
                embedded detector, "none" takes the whole picture for one person.
            device: auto, cpu, cuda, cuda:1, ...
            precision: auto, float32, bfloat16 or int8, see `load_runner`.
            engine: torch, or what takes longer to start and may run faster: auto, onnxruntime or openvino, see
                `load_runner`.
            batch_size: people that the network sees at once.
            threshold: boxes with a lower score are left out.
            flip: average with the mirrored crop, or do not; None does as `test` says.
            test: padding, flip, filter and decoder; None takes those that belong to the weights.
            ensemble_weights: how much each of several models counts; None lets them count alike.

        Raises:
            WeightsError: if there are no such weights.
            DetectorError: if there is no such detector.
            ValueError: for an unknown device, precision or engine, an empty batch, or models that cannot be averaged.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        models = [model] if isinstance(model, str | Path | Checkpoint) else list(model)
        on = choose_device(device)
        members = []
        for one in models:
            checkpoint = one if isinstance(one, Checkpoint) else load_named(one)
            recipe = checkpoint.header.recipe
            settings = test or recipe.test
            if flip is not None:
                settings = settings.model_copy(update={"flip": flip})
            runner = Runner(checkpoint.model, on, precision, engine, checkpoint.header.ranges)
            members.append(Member(recipe, settings, runner))
        self.ensemble = Ensemble(members, ensemble_weights)
        is_named = isinstance(detector, str | Path)
        self.detector = make_detector(str(detector), on) if is_named else check_detector(detector, repr(detector))
        self.batch_size = batch_size
        self.threshold = threshold

    @property
    def recipe(self) -> Recipe:
        """Of the first network."""
        return self.ensemble.leader.recipe

    @property
    def test(self) -> TestConfig:
        """How the first network's maps, averaged with the others', become poses."""
        return self.ensemble.leader.test

    @property
    def precision(self) -> Precision:
        """What the networks compute with: float32, bfloat16 or int8."""
        return self.ensemble.leader.runner.precision

    @property
    def engine(self) -> Engine:
        """What computes the networks: torch, onnxruntime or openvino."""
        return self.ensemble.leader.runner.engine

    def __call__(self, image: UInt8[np.ndarray, "H W 3"] | PillowImage | str | Path) -> list[Pose]:
        """Poses of everyone in a picture, best first.

        Args:
            image: RGB pixels, an image of Pillow, or the path of a picture file.

        Raises:
            PictureError: if the file cannot be read.
            SourceError: if the array or image is no picture.
            ValueError: if the detector gives a box that cannot be cut out.
        """
        if isinstance(image, str | Path):
            picture = Picture(str(image), read_picture(Path(image)))
        else:
            picture = Picture("", read_in_memory(image))
        subjects = [self.cut(picture, detection) for detection in self.find(picture)]
        return self.choose(self.estimate(subjects))

    def stream(
        self, source: Source | Sequence[Source], detect_every: int = 1, keep_pixels: bool = True
    ) -> Generator[PictureResult, None, None]:
        """Poses of everyone in many pictures, or in a video, one result a picture or frame, as they are found.

        The source is read, people found and estimated in threads ahead of whoever takes the results; stopping to take
        them ends the threads. People of several pictures share batches, except those of cameras, which nobody wants to
        wait for.

        >>> for result in PoseEstimator().stream("match.mp4"):
        ...     print(result.picture.moment.seconds, len(result.poses))

        Args:
            source: a picture, folder, pattern, address, video, camera, array, or several of them: see `open_sources`.
            detect_every: look for people in every so many-th frame of a video; in between, follow their poses.
            keep_pixels: False makes the pictures of the results black; then thousands of results fit into memory.

        Raises:
            SourceError: if nothing is named, or nothing of it is there; a single source that cannot be read is a
                line in the `problems` of its result.
            TypeError: if something is named that can be no source.
            ValueError: if detect_every is below 1.
        """
        sources = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
        return predict_pictures(self, open_sources(sources), detect_every=detect_every, keep_pixels=keep_pixels)

    def find(self, picture: Picture) -> list[Detection]:
        """The detector's boxes from the threshold on (a score that is no number is kept, to be refused by `cut`).

        Raises:
            ValueError: if the detector gives anything but detections.
        """
        found = self.detector.detect(picture)
        if not (isinstance(found, Sequence) and all(isinstance(one, Detection) for one in found)):
            name = type(self.detector).__name__
            raise ValueError(f"the detector {name} must give a list of mspn.records.Detection, not {repr(found)[:60]}")
        return [detection for detection in found if not detection.score < self.threshold]

    def cut(self, picture: Picture, detection: Detection) -> Subject:
        """Cut a person out of a picture.

        Raises:
            ValueError: if the box is empty, not finite, or outside the picture.
        """
        check_box(detection.box, picture.size)
        if not 0 <= detection.score <= 1:
            raise ValueError(f"a box's score must be from 0 to 1, not {detection.score}")
        frames = self.ensemble.frames(detection.box)
        crops = {frame: cut_crop(picture.pixels, frame) for frame in set(frames)}
        return Subject(detection, frames, tuple(crops[frame] for frame in frames))

    def estimate(self, subjects: Sequence[Subject]) -> list[Pose]:
        """Poses of people who are cut out, in the same order; pictures do not matter, batches are filled."""
        poses: list[Pose] = []
        for start in range(0, len(subjects), self.batch_size):
            batch = subjects[start : start + self.batch_size]
            poses += self.read(batch, self.ask(batch))
        return poses

    def choose(self, poses: Sequence[Pose]) -> list[Pose]:
        """The poses of one picture, best first, without duplicates where the test settings say so."""
        if self.test.suppression_oks is not None:
            poses = without_duplicates(poses, self.test.suppression_oks)
        return sorted(poses, key=lambda pose: -pose.score)

    def ask(self, subjects: Sequence[Subject]) -> Float[Tensor, "B K h w"]:
        """Heat maps of one batch of people, averaged over the networks and mirrored crops."""
        crops = [
            torch.from_numpy(np.stack(of_network)) for of_network in zip(*(one.crops for one in subjects), strict=True)
        ]
        return self.ensemble.heatmaps(crops, _frames(subjects))

    def read(self, subjects: Sequence[Subject], heatmaps: Float[Tensor, "B K h w"]) -> list[Pose]:
        """Poses that a batch's heat maps show."""
        detections = [subject.detection for subject in subjects]
        decoded = decode(heatmaps, self.test)
        return make_poses(detections, _frames(subjects)[0], decoded, self.recipe.keypoint_table, self.test)


def _frames(subjects: Sequence[Subject]) -> list[tuple[CropFrame, ...]]:
    """For each network, where the people's crops lie."""
    return list(zip(*(subject.frames for subject in subjects), strict=True))
