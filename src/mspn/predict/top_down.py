"""The top-down steps: detect people, crop them, predict heat maps, decode keypoints, select poses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Tensor

from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.hub import find_weights
from mspn.config.protocol import PREDICTION_SUPPRESSION_OKS, ProtocolConfig
from mspn.config.recipe import Recipe
from mspn.config.score_calibration import ScoreCalibration
from mspn.detectors import detector_for
from mspn.detectors.base import Detector, checked_detections
from mspn.detectors.letterbox import MAX_SIDE
from mspn.detectors.slices import MAX_SLICES
from mspn.errors import InvalidValueError
from mspn.heatmaps.decode import Decoded, average_mirrored, decode
from mspn.heatmaps.resample import Grid, resample
from mspn.inference.devices import Precision, choose_device
from mspn.inference.engines import Engine
from mspn.inference.exported import ExportedModel, ExportedNetwork, load_pose_model
from mspn.inference.runner import Runner
from mspn.predict.scoring import make_poses, select_poses
from mspn.structures.boxes import Box, Detection, Size, check_box
from mspn.structures.crop import HEATMAP_STRIDE, CropFrame, cut_crop, frame_from_box
from mspn.structures.image import Image
from mspn.structures.pose import Pose
from mspn.structures.settings import Settings


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


def crop_frame(recipe: Recipe, test: ProtocolConfig, box: Box, image: Size) -> CropFrame:
    """The region of an image that a recipe's network takes as the crop of the person in a box."""
    seen = Box.of_image(image) if recipe.data.boxes == "image" else box
    return frame_from_box(seen, recipe.model.input_size, test.padding)


@dataclass(frozen=True, eq=False)
class Member:
    """A network, and how it is tested."""

    recipe: Recipe
    test: ProtocolConfig
    runner: Runner | ExportedNetwork
    calibration: ScoreCalibration | None = None
    """What the scores of keypoints mean; None: they are the peaks of its maps."""

    def frame(self, box: Box, image: Size) -> CropFrame:
        """The region of an image that this network takes as the crop of the person in a box."""
        return crop_frame(self.recipe, self.test, box, image)

    def grid(self, frames: Sequence[CropFrame]) -> Grid:
        """Where the cells of this network's maps lie, which stand for their corners if it learned rounded keypoints."""
        return Grid(frames, cell_at=0.0 if self.test.decoder == "rounded" else HEATMAP_STRIDE / 2)

    def heatmaps(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """Heat maps of crops, averaged with those of the mirrored crops where the protocol flips (paper Sec. 4.2)."""
        if not self.test.flip:
            return self.runner(crops)
        maps, of_mirrored = self.runner(torch.cat([crops, crops.flip(2)])).chunk(2)
        order = self.recipe.keypoint_table.mirror_order
        return average_mirrored(maps, of_mirrored, order, shift=self.test.mirror_shift)


class Ensemble:
    """Networks of one skeleton, whose heat maps are averaged point by point of the image, on the first one's cells.

    Each network has its own padding and crop size. Cells of the first network that lie outside of another network's
    crop are averaged over the remaining networks.
    """

    def __init__(self, members: Sequence[Member], weights: Sequence[float] | None = None) -> None:
        """Put networks together.

        Args:
            members: at least one.
            weights: weight of each in the average, above 0; None: equal.

        Raises:
            ValueError: if there are no networks, their skeletons differ, or the weights do not fit.
        """
        if not members:
            raise InvalidValueError("no model is given; name at least one")
        skeletons = [member.recipe.keypoint_table for member in members]
        if any(skeleton != skeletons[0] for skeleton in skeletons):
            names = ", ".join(skeleton.name for skeleton in skeletons)
            raise InvalidValueError(f"networks of different skeletons cannot be averaged: {names}")
        weights = [1.0] * len(members) if weights is None else list(weights)
        if len(weights) != len(members):
            raise InvalidValueError(f"{len(weights)} weights for {len(members)} models; give one for each, or none")
        if not all(0 < weight < math.inf for weight in weights):
            raise InvalidValueError(
                f"each model's weight must be a number above 0, not {', '.join(f'{w:g}' for w in weights)}"
            )
        givers = [member.runner for member in members if isinstance(member.runner, ExportedNetwork)]
        for network in givers:
            if network.gives_keypoints and len(members) > 1:
                raise InvalidValueError(
                    f"{network.path} gives keypoints, not heat maps, and cannot be averaged with others; export it"
                    " without decoding"
                )
        self.members = tuple(members)
        self.weights = tuple(weights)

    @property
    def leader(self) -> Member:
        """The first network, on whose cells the maps are averaged, and whose settings decode and score them."""
        return self.members[0]

    def frames(self, box: Box, image: Size) -> tuple[CropFrame, ...]:
        """What each network wants to see of a person in an image of that size."""
        return tuple(member.frame(box, image) for member in self.members)

    def heatmaps(
        self, crops: Sequence[UInt8[Tensor, "B H W 3"]], frames: Sequence[Sequence[CropFrame]]
    ) -> Float[Tensor, "B K h w"]:
        """Heat maps of people in the frames of the first network.

        Args:
            crops: for each network, the people's crops.
            frames: for each network, where these crops lie.
        """
        if len(self.members) == 1:
            return self.leader.heatmaps(crops[0])
        cells = self.leader.grid(frames[0])
        total = torch.zeros(())
        cover = torch.zeros(())
        for member, weight, own_crops, own_frames in zip(self.members, self.weights, crops, frames, strict=True):
            maps = member.heatmaps(own_crops)
            seen = torch.ones(())
            own_cells = member.grid(own_frames)
            if own_cells != cells:
                maps, seen = resample(maps, own_cells, cells)
            total = total + weight * maps
            cover = cover + weight * seen
        return total / cover


@dataclass(frozen=True, eq=False)
class PersonCrop:
    """A person cut out of an image, once for each network of the ensemble."""

    detection: Detection
    frames: tuple[CropFrame, ...]
    crops: tuple[UInt8[np.ndarray, "H W 3"], ...]


class TopDown:
    """The steps from an image to poses; `predict_images` runs them on many images at once."""

    def __init__(
        self,
        config: TopDownConfig,
        *,
        checkpoints: Sequence[Checkpoint | ExportedModel] | None = None,
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
        device = choose_device(config.device)
        members = []
        for checkpoint in checkpoints or map(load_pose_model, map(find_weights, config.models)):
            recipe = checkpoint.metadata.recipe
            test = config.test or recipe.test
            if config.flip is not None:
                test = test.model_copy(update={"flip": config.flip})
            runner = _make_runner(checkpoint, test, device, config)
            members.append(Member(recipe, test, runner, checkpoint.metadata.score_calibration))
        self.ensemble = Ensemble(members, config.ensemble_weights)
        self.detector = detector or detector_for(
            config.detector,
            self.ensemble.leader.recipe,
            device,
            side=config.detector_size,
            slices=config.detector_slices,
        )
        self.batch_size = config.batch_size
        self.threshold = config.threshold
        protocol = self.ensemble.leader.test.suppression_oks
        self.suppression_oks = config.suppression_oks if protocol is None else protocol

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

    def predict_heatmaps(self, people: Sequence[PersonCrop]) -> Float[Tensor, "B K h w"]:
        """Heat maps of one batch of people, averaged over networks and mirrored crops; peak 1."""
        crops = [stack_crops(people, network) for network in range(len(self.ensemble.members))]
        return self.ensemble.heatmaps(crops, _frames_by_network(people))

    def predict_keypoints(self, people: Sequence[PersonCrop]) -> Decoded:
        """Keypoints of one batch of people in their crops, from heat maps unless the network gives them itself."""
        leader = self.ensemble.leader
        if isinstance(leader.runner, ExportedNetwork) and leader.runner.gives_keypoints:
            return leader.runner.keypoints(stack_crops(people))
        return decode(self.predict_heatmaps(people), leader.test)

    def decode(self, people: Sequence[PersonCrop], heatmaps: Float[Tensor, "B K h w"]) -> list[Pose]:
        """Poses in image pixels from a batch's heat maps, in the same order."""
        return self._make_poses(people, decode(heatmaps, self.ensemble.leader.test))

    def _make_poses(self, people: Sequence[PersonCrop], decoded: Decoded) -> list[Pose]:
        leader = self.ensemble.leader
        detections = [person.detection for person in people]
        frames = _frames_by_network(people)[0]
        return make_poses(detections, frames, decoded, leader.recipe.keypoint_table, leader.test, leader.calibration)

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
    checkpoint: Checkpoint | ExportedModel, test: ProtocolConfig, device: torch.device, config: TopDownConfig
) -> Runner | ExportedNetwork:
    if isinstance(checkpoint, Checkpoint):
        ranges = checkpoint.metadata.calibration_ranges
        return Runner(checkpoint.model, device, config.precision, config.engine, ranges)
    checkpoint.network.check_choice(config.engine, config.precision, config.device)
    checkpoint.network.check_test(test)
    return checkpoint.network


def stack_crops(people: Sequence[PersonCrop], network: int = 0) -> UInt8[Tensor, "B H W 3"]:
    """What a network of the ensemble, by its number, sees of people."""
    return torch.from_numpy(np.stack([person.crops[network] for person in people]))


def _frames_by_network(people: Sequence[PersonCrop]) -> list[tuple[CropFrame, ...]]:
    return list(zip(*(person.frames for person in people), strict=True))
