"""Poses of the people in images and videos: the class that users start with."""

from collections.abc import Generator, Sequence
from pathlib import Path

from pydantic import ValidationError

from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.hub import load_named
from mspn.config.protocol import ProtocolConfig
from mspn.config.recipe import Recipe
from mspn.detectors.base import Detector
from mspn.detectors.simple import check_detector
from mspn.errors import InvalidValueError
from mspn.inference.devices import Precision
from mspn.inference.engines import Engine
from mspn.io.images import read_image
from mspn.predict.pipeline import ImageResult, predict_images
from mspn.predict.top_down import TopDown, TopDownConfig
from mspn.sources import open_sources
from mspn.sources.in_memory import InMemoryImage, read_in_memory
from mspn.sources.resolve import Source
from mspn.structures.image import Image
from mspn.structures.pose import Pose
from mspn.structures.settings import first_problem

Model = str | Path | Checkpoint
"""Name, weights file, or a loaded checkpoint."""


class PoseEstimator:
    """Finds people and estimates their keypoints.

    >>> import numpy as np
    >>> estimator = PoseEstimator("mspn-tiny", "none")
    >>> for pose in estimator(np.zeros((64, 48, 3), np.uint8)):
    ...     print(pose.skeleton.name, len(pose.keypoints))
    coco-17 17
    """

    def __init__(
        self,
        model: Model | Sequence[Model] = "default",
        detector: Detector | str | Path = "default",
        *,
        device: str = "auto",
        precision: Precision = "auto",
        engine: Engine = "auto",
        batch_size: int = 32,
        threshold: float = 0.3,
        flip: bool | None = None,
        test: ProtocolConfig | None = None,
        ensemble_weights: Sequence[float] | None = None,
    ) -> None:
        """Load a model, or several whose heat maps are averaged; the first of them says how maps become poses.

        Args:
            model: name, weights file, or a loaded checkpoint; or a list of them.
            detector: an object with a method `detect`, or a name or file, see `make_detector`: "default" is the
                embedded detector, "none" takes the full image for one person.
            device: auto, cpu, cuda, cuda:1, ...
            precision: auto, float32, bfloat16 or int8, see `load_runner`.
            engine: auto, torch, onnxruntime or openvino; the last two start slower and may run faster, see `load_runner`.
            batch_size: people that the network sees at once.
            threshold: detections with a lower score are dropped.
            flip: average with the mirrored crop; None: as `test` says.
            test: padding, flip, filter and decoder; None: those stored with the weights.
            ensemble_weights: weight of each of several models; None: equal.

        Raises:
            WeightsError: if there are no such weights.
            DetectorError: if there is no such detector.
            ValueError: for an unknown device, precision or engine, an empty batch, or models that cannot be averaged.
        """
        if batch_size < 1:
            raise InvalidValueError(f"batch_size must be at least 1, not {batch_size}")
        models = [model] if isinstance(model, str | Path | Checkpoint) else list(model)
        is_named = isinstance(detector, str | Path)
        try:
            config = TopDownConfig(
                models=tuple(item for item in models if not isinstance(item, Checkpoint)),
                ensemble_weights=None if ensemble_weights is None else tuple(ensemble_weights),
                detector=str(detector) if is_named else repr(detector),
                test=test,
                flip=flip,
                device=device,
                precision=precision,
                engine=engine,
                batch_size=batch_size,
                threshold=threshold,
            )
        except ValidationError as error:
            raise InvalidValueError(first_problem(error)) from error
        self.top_down = TopDown(
            config,
            checkpoints=[item if isinstance(item, Checkpoint) else load_named(item) for item in models],
            detector=None if is_named else check_detector(detector, repr(detector)),
        )

    @property
    def recipe(self) -> Recipe:
        """Of the first network."""
        return self.top_down.ensemble.leader.recipe

    @property
    def test(self) -> ProtocolConfig:
        """How the averaged heat maps become poses: the first network's protocol."""
        return self.top_down.ensemble.leader.test

    @property
    def precision(self) -> Precision:
        """What the networks compute with: float32, bfloat16 or int8."""
        return self.top_down.ensemble.leader.runner.precision

    @property
    def engine(self) -> Engine:
        """What computes the networks: torch, onnxruntime or openvino."""
        return self.top_down.ensemble.leader.runner.engine

    def __call__(self, image: InMemoryImage | str | Path) -> list[Pose]:
        """Poses of all people in an image, best first.

        Args:
            image: the path of an image file; a uint8 array, RGB (H, W, 3) or gray (H, W) or (H, W, 1); a uint8
                tensor of these shapes or (3, H, W), where channels last wins if both fit; or a Pillow image.

        Raises:
            ImageError: if the file cannot be read.
            SourceError: if an array, tensor or Pillow image has another type or shape, such as four channels.
            TypeError: for any other value.
            ValueError: if the detector gives a box that cannot be cut out.
        """
        if isinstance(image, str | Path):
            loaded = Image(str(image), read_image(Path(image)))
        else:
            loaded = Image("", read_in_memory(image))
        people = [self.top_down.crop(loaded, detection) for detection in self.top_down.detect(loaded)]
        return self.top_down.select(self.top_down.estimate(people))

    def stream(
        self, source: Source | Sequence[Source], detect_every: int = 1, keep_pixels: bool = True
    ) -> Generator[ImageResult, None, None]:
        """Poses of all people in many images or a video, one result per image or frame, in order.

        Reading, detection and estimation run in background threads; closing the iterator stops them. People of several
        images share batches, except those of cameras, whose results are wanted at once.

        >>> import numpy as np
        >>> frames = [np.zeros((64, 48, 3), np.uint8)] * 2
        >>> for result in PoseEstimator("mspn-tiny", "none").stream(frames):
        ...     print(len(result.poses), result.problems)
        1 []
        1 []

        Args:
            source: a file, folder, pattern, address, video, camera, or an image in memory as `__call__` takes it; or a
                list of these: see `open_sources`.
            detect_every: run the detector on every Nth frame of a video; propagate boxes in between.
            keep_pixels: False makes the images of the results black; then thousands of results fit into memory.

        Raises:
            SourceError: if nothing is named, or nothing of it is there; a single source that cannot be read is a
                line in the `problems` of its result.
            TypeError: for a value that cannot be a source.
            ValueError: if detect_every is below 1.
        """
        sources = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
        return predict_images(self.top_down, open_sources(sources), detect_every=detect_every, keep_pixels=keep_pixels)
