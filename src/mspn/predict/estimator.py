"""Poses of the people in images and videos, there smoothed if wanted: the class that users start with."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, overload

import numpy as np
from pydantic import ValidationError

from mspn.checkpoints.hub import find_weights
from mspn.config.protocol import PREDICTION_SUPPRESSION_OKS, ProtocolConfig
from mspn.config.recipe import Recipe
from mspn.detectors import detector_files
from mspn.detectors.base import Detector, check_detector
from mspn.errors import InvalidValueError
from mspn.inference.devices import Engine, Precision
from mspn.inference.exported import ExportedModel, load_pose_model
from mspn.io.files import sha256_of
from mspn.io.limits import DEFAULTS, InputLimits
from mspn.predict.ensemble import PersonCrop
from mspn.predict.pipeline import ImageResult, predict_images
from mspn.predict.top_down import TopDown, TopDownConfig
from mspn.sources import open_sources, read_single_image
from mspn.sources.in_memory import InMemoryImage
from mspn.sources.resolve import Source
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Video
from mspn.structures.pose import Pose
from mspn.structures.settings import first_problem
from mspn.tracking.one_euro import OneEuroFilter
from mspn.tracking.tracker import PoseTracker

if TYPE_CHECKING:
    from mspn.checkpoints.format import Checkpoint

Model = Union[str, Path, "Checkpoint", ExportedModel]
"""Name, weights file or exported file (.onnx, .xml), or what one of them has loaded."""
SingleImage = InMemoryImage | str | Path
"""An image in memory, or the path of an image file."""
AnyImage = TypeVar("AnyImage", bound=SingleImage)
GivenBox = Detection | Box | Sequence[float] | np.ndarray
"""A person's box in image pixels, (left, top, width, height); without a score it counts as certain."""


class PoseEstimator:
    """Finds people and estimates their keypoints.

    >>> import numpy as np
    >>> estimator = PoseEstimator("mspn-tiny", "none")
    >>> for pose in estimator(np.zeros((64, 48, 3), np.uint8)):
    ...     print(pose.skeleton.name, len(pose.keypoints))
    coco-17 17

    Threads may share one. Pickling keeps its settings, from which it is made anew, for example in a spawned process. A
    forked process runs torch with one thread, and needs an estimator of its own for other engines and GPUs.
    """

    def __init__(
        self,
        model: Model | Sequence[Model] = "default",
        detector: Detector | str | Path = "default",
        *,
        detector_size: int | None = None,
        detector_slices: int = 1,
        device: str = "auto",
        precision: Precision = "auto",
        engine: Engine = "auto",
        batch_size: int = 32,
        threshold: float = 0.3,
        flip: bool | None = None,
        test: ProtocolConfig | None = None,
        suppression_oks: float | None = PREDICTION_SUPPRESSION_OKS,
        ensemble_weights: Sequence[float] | None = None,
    ) -> None:
        """Load a model, or several whose heat maps are averaged; the first of them says how maps become poses.

        Args:
            model: name, weights file, or a loaded checkpoint; or a list of them.
            detector: an object with a method `detect`, or a name or file, see `make_detector`: "default" is the
                embedded detector of people, "none" takes the full image for one person.
            detector_size: pixels of the longer side that a named detector sees images at, a multiple of 32; None: what
                it was trained for. More finds smaller people, such as those of crowds, and takes longer.
            detector_slices: along an image's longer side, up to 8: a named detector looks for people in overlapping
                slices of the image as well as in the whole, for large images of small people; 1: in the whole alone.
            device: auto, cpu, cuda, cuda:1, ...
            precision: auto, float32, bfloat16 or int8, see `load_runner`.
            engine: auto, torch, onnxruntime or openvino; the last two start slower and may run faster: `load_runner`.
            batch_size: people that the network sees at once.
            threshold: detections with a lower score are dropped; 0 to 1.
            flip: average with the mirrored crop; None: as `test` says.
            test: padding, flip, filter and decoder; None: those stored with the weights.
            suppression_oks: of two poses in an image that are more similar than this (OKS), the one ranked lower is
                left out, since the detector has found that person twice; None: only as `test` says, whose own
                `suppression_oks` comes first.
            ensemble_weights: weight of each of several models; None: equal.

        Raises:
            WeightsError: if there are no such weights.
            DetectorError: if there is no such detector, or the default one for a network of anything but people.
            ValueError: for an unknown device, precision or engine, a number out of its range, or models that cannot be
                averaged.
        """
        self._settings: dict[str, Any] = {
            "model": model,
            "detector": detector,
            "detector_size": detector_size,
            "detector_slices": detector_slices,
            "device": device,
            "precision": precision,
            "engine": engine,
            "batch_size": batch_size,
            "threshold": threshold,
            "flip": flip,
            "test": test,
            "suppression_oks": suppression_oks,
            "ensemble_weights": ensemble_weights,
        }
        models: list[Model] = list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
        is_named = isinstance(detector, str | Path)
        if not is_named and (detector_size is not None or detector_slices != 1):
            raise InvalidValueError(
                "detector_size and detector_slices are for a detector that is named; make this one with them, for"
                " example with make_detector of mspn.detectors"
            )
        try:
            config = TopDownConfig(
                models=tuple(item for item in models if isinstance(item, str | Path)),
                ensemble_weights=None if ensemble_weights is None else tuple(ensemble_weights),
                detector=str(detector) if is_named else repr(detector),
                detector_size=detector_size,
                detector_slices=detector_slices,
                test=test,
                flip=flip,
                device=device,
                precision=precision,
                engine=engine,
                batch_size=batch_size,
                threshold=threshold,
                suppression_oks=suppression_oks,
            )
        except ValidationError as error:
            raise InvalidValueError(first_problem(error)) from error
        self.top_down = TopDown(
            config,
            checkpoints=[
                load_pose_model(find_weights(item), precision) if isinstance(item, str | Path) else item
                for item in models
            ],
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

    def __getstate__(self) -> dict[str, Any]:
        return self._settings

    def __setstate__(self, settings: dict[str, Any]) -> None:
        self.__init__(**settings)  # type: ignore[misc]  # networks and their threads belong to one process

    @overload
    def __call__(self, image: SingleImage, boxes: Iterable[GivenBox] | None = None) -> list[Pose]: ...

    @overload
    def __call__(
        self,
        image: list[AnyImage] | tuple[AnyImage, ...],
        boxes: Sequence[Iterable[GivenBox] | None] | None = None,
    ) -> list[list[Pose]]: ...

    def __call__(self, image: Any, boxes: Any = None) -> list[Pose] | list[list[Pose]]:
        """Poses of all people in an image, best first; or those of each image of a list, whose people share batches.

        Args:
            image: the path of an image file; a uint8 array, RGB (H, W, 3) or gray (H, W) or (H, W, 1); a uint8
                tensor of these shapes or (3, H, W), where channels last wins if both fit; or a Pillow image. Or a
                list or tuple of these.
            boxes: the people's boxes in image pixels, in place of the detector: each a `Detection`, whatever its
                score, or (left, top, width, height). For a list of images, a list of such boxes for each image, None
                where the detector is to find them.

        Raises:
            ImageError: if the file cannot be read.
            SourceError: if an array, tensor or Pillow image has another type or shape, such as four channels; or for a
                video, folder or anything else that `stream` takes.
            TypeError: for any other value.
            ValueError: if a box cannot be cut out, or boxes are not given for each image.
        """
        if not isinstance(image, list | tuple):
            return self._predict([image], [boxes])[0]
        if boxes is None:
            boxes = [None] * len(image)
        if len(boxes) != len(image):
            raise InvalidValueError(f"boxes for {len(boxes)} images, but there are {len(image)}; give a list for each")
        return self._predict(image, boxes)

    def _predict(self, images: Sequence[SingleImage], boxes: Sequence[Iterable[GivenBox] | None]) -> list[list[Pose]]:
        people = [self._crop_people(image, given) for image, given in zip(images, boxes, strict=True)]
        poses = iter(self.top_down.estimate([person for of_image in people for person in of_image]))
        return [self.top_down.select([next(poses) for _ in of_image]) for of_image in people]

    def _crop_people(self, image: SingleImage, boxes: Iterable[GivenBox] | None) -> list[PersonCrop]:
        loaded = read_single_image(image)
        detections = self.top_down.detect(loaded) if boxes is None else [_as_detection(box) for box in boxes]
        return [self.top_down.crop(loaded, detection) for detection in detections]

    def stream(
        self,
        source: Source | Sequence[Source],
        detect_every: int = 1,
        track: bool | PoseTracker = True,
        smooth: bool = False,
        keep_pixels: bool = True,
        limits: InputLimits = DEFAULTS,
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
            track: give the people of a video ids, `Pose.track_id`: True by a `Tracker`, or by another tracker. People
                below the threshold then count where they continue a track.
            smooth: smooth the keypoints of people with ids by a `OneEuroFilter`, frame by frame.
            keep_pixels: False makes the images of the results black; then thousands of results fit into memory.
            limits: what may be read; addresses of a private network need `own_addresses` or `allowed_networks`.

        Raises:
            SourceError: if nothing is named, or nothing of it is there; a single source that cannot be read is a
                line in the `problems` of its result.
            TypeError: for a value that cannot be a source.
            ValueError: if detect_every is below 1, or people are to be smoothed who are not followed.
        """
        if smooth and track is False:
            raise InvalidValueError("smooth=True needs track=True: only people with ids can be smoothed")
        sources = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
        images = open_sources(sources, limits)
        results = predict_images(self.top_down, images, detect_every=detect_every, track=track, keep_pixels=keep_pixels)
        return smooth_online(results) if smooth else results


def describe_settings(
    estimator: PoseEstimator, models: Sequence[str | Path], detector: str | None, boxes: Path | None
) -> dict[str, Any]:
    """What the poses of an image depend on, as values that JSON has; files by their digests.

    Args:
        estimator: that predicts.
        models: names or files of its weights.
        detector: its text; None where boxes are given.
        boxes: the file or folder that gives them.
    """
    top_down = estimator.top_down
    given = ("detector_size", "detector_slices", "ensemble_weights")
    return {
        **{name: estimator.__getstate__()[name] for name in given},
        "weights": [sha256_of(find_weights(model)) for model in models],
        "detector": None if detector is None else [detector, *map(sha256_of, detector_files(detector))],
        "boxes": boxes and sha256_of(boxes),
        "threshold": top_down.threshold,
        "precision": estimator.precision,
        "test": [member.test.model_dump(mode="json") for member in top_down.ensemble.members],
        "suppression_oks": top_down.suppression_oks,
    }


def _as_detection(box: GivenBox) -> Detection:
    if isinstance(box, Detection):
        return box
    try:
        left, top, width, height = map(float, box)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"a box is four numbers, (left, top, width, height) in pixels, or a Detection, not {repr(box)[:60]}"
        ) from error
    return Detection(Box(left, top, width, height), 1.0)


class OnlineSmoother:
    """Smooths the keypoints of people in videos frame by frame, without looking ahead, by a `OneEuroFilter`.

    Images, and people without a track id, stay as they are.
    """

    def __init__(self) -> None:
        self._video: Video | None = None
        self._filter = OneEuroFilter()

    def smooth(self, result: ImageResult) -> ImageResult:
        """The next result, whose frame follows that of the one before if both are of the same video."""
        frame = result.image.frame if result.image else None
        tracks = {pose.track_id: pose for pose in result.poses if pose.track_id is not None}
        if frame is None or not tracks:
            return result
        if frame.video is not self._video:
            self._video, self._filter = frame.video, OneEuroFilter()
        keypoints = self._filter.update(
            np.array(list(tracks)),
            np.stack([pose.keypoints_image for pose in tracks.values()]).astype(np.float64),
            np.stack([pose.keypoint_scores for pose in tracks.values()]).astype(np.float64),
            frame.seconds,
        )
        smoothed: dict[int | None, Pose] = {
            track_id: replace(pose, keypoints_image=points)
            for (track_id, pose), points in zip(tracks.items(), keypoints, strict=True)
        }
        return replace(result, poses=[smoothed.get(pose.track_id, pose) for pose in result.poses])


def smooth_online(results: Generator[ImageResult, None, None]) -> Generator[ImageResult, None, None]:
    """Results in order, smoothed by an `OnlineSmoother`; closing the generator closes `results`."""
    smoother = OnlineSmoother()
    with closing(results):
        for result in results:
            yield smoother.smooth(result)
