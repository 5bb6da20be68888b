"""Training tasks, keypoints of people and boxes of people: the parts of training that differ between them.

They are data, loss, and validation during training.
"""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.metadata import AnyMetadata, CheckpointMetadata, DetectorMetadata, SetFingerprint
from mspn.config.data import PeopleSetConfig
from mspn.config.recipe import AnyRecipe, DetectorRecipe, Recipe
from mspn.datasets.crop_dataset import CropDataset, read_training_sets
from mspn.datasets.packed import with_packed_sets
from mspn.datasets.people import ImagePaths, merge
from mspn.datasets.samples import PERSON, KeypointLabels, SampleRequest, SceneLabels
from mspn.datasets.scenes import SceneDataset, Scenes, SceneSample, merge_scenes, read_scenes
from mspn.datasets.workers import read_by_first
from mspn.detectors import make_detector
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.detectors.onnx import OnnxDetector
from mspn.distributed import Processes
from mspn.errors import DetectorError
from mspn.evaluation.average_precision import average_precision, box_average_precision, read_ground_truth
from mspn.evaluation.detection_counts import detect_people
from mspn.evaluation.predicting import predict_people
from mspn.inference.devices import Precision
from mspn.labels.formats.coco import CocoPeople
from mspn.labels.reading import refuse_outside
from mspn.models import AnyNetwork, build_network
from mspn.models.base import Network, PoseNetwork
from mspn.models.person_detector import STRIDES, Candidates, PersonDetector
from mspn.predict.estimator import PoseEstimator
from mspn.structures.shapes import Bool, Float, Int, UInt8
from mspn.structures.skeleton import COCO_17, Skeleton
from mspn.training.environment import fingerprint
from mspn.training.losses import DetectionLosses, StageLosses, compute_losses, detection_losses
from mspn.training.sample_sheets import write_scene_sheet, write_sheet

logger = logging.getLogger(__name__)


class Batch(Protocol):
    """Inputs of the network with their labels."""

    @property
    def pixels(self) -> UInt8[Tensor, "B H W 3"]:
        """RGB."""
        ...

    @property
    def labels(self) -> Any:
        """A named tuple of tensors."""
        ...

    @property
    def sample_index(self) -> Int[Tensor, " B"]:
        """Indices of the samples among all sets."""
        ...

    @property
    def is_readable(self) -> Bool[Tensor, " B"]:
        """False where an image could not be read."""
        ...


class Losses(Protocol):
    """The loss and its parts."""

    @property
    def total(self) -> Float[Tensor, ""]: ...

    @property
    def by_stage_and_level(self) -> Float[Tensor, "stages levels"]:
        """Weighted and detached; levels from fine to coarse."""
        ...


class Measure(Protocol):
    """A validation set."""

    @property
    def is_possible(self) -> bool:
        """False where there is no set."""
        ...

    def measure(self, network: Any, report: Callable[[int, int], None]) -> dict[str, float]:
        """COCO's numbers of a network, AP among them; the processes share the images.

        Args:
            network: stays as it is.
            report: called with how many images are done, and of how many, in this process.
        """
        ...


class TrainingData(NamedTuple):
    """All sets of a recipe, one after another."""

    set_sizes: Sequence[int]
    """Samples of each set: people, or images."""
    set_weights: Sequence[float]
    """How often each set's samples are drawn per epoch."""
    samples: Dataset[Any]
    """Indexed by `SampleRequest`."""
    images: ImagePaths
    image_index: Int[np.ndarray, " N"]
    """Index of each sample's image."""
    grouping: Int[np.ndarray, " N"] | None = None
    """Samples with the same number are drawn one after another; None draws each on its own."""


class Task(ABC):
    """A recipe with its data read."""

    data: TrainingData
    validation: Measure
    keypoints: tuple[str, ...] | None = None
    """Names of what a pose network predicts."""

    @abstractmethod
    def build_network(self) -> AnyNetwork:
        """The network with random weights."""

    @abstractmethod
    def compute_losses(self, outputs: Any, labels: Any) -> Losses:
        """Losses of the network's outputs for a batch."""

    @abstractmethod
    def metadata(self) -> AnyMetadata:
        """Of the run's weights files."""

    @abstractmethod
    def fingerprints(self) -> tuple[SetFingerprint, ...]:
        """Of the training sets."""

    @abstractmethod
    def write_sheet(self, run: Path, draws: Sequence[SampleRequest]) -> None:
        """Draw training samples, with what the network is to learn of them, into the run folder."""


def read_task(recipe: AnyRecipe, device: torch.device, processes: Processes) -> Task:
    """A recipe with its data; errors as of the tasks."""
    if isinstance(recipe, DetectorRecipe):
        return DetectorTask(recipe, device, processes)
    return PoseTask(recipe, device, processes)


class PoseTask(Task):
    def __init__(self, recipe: Recipe, device: torch.device, processes: Processes) -> None:
        """Read the recipe's sets; errors as in `with_packed_sets`, `read_training_sets` and `Validation`."""
        self._recipe = recipe = with_packed_sets(recipe)
        self.keypoints = recipe.keypoint_table.keypoints
        self._sets = read_by_first(processes, lambda: read_training_sets(recipe))
        people = merge(self._sets)
        self._category = people.category
        self._samples = CropDataset(people, recipe)
        self.data = TrainingData(
            [len(people_set) for people_set in self._sets],
            [config.weight for config in recipe.data.train],
            self._samples,
            people.images,
            people.image_index,
            grouping=people.image_index if recipe.data.order == "images" else None,
        )
        self.validation = Validation(recipe, device, processes)

    def build_network(self) -> PoseNetwork:
        return build_network(self._recipe.model)

    def compute_losses(self, outputs: Any, labels: KeypointLabels) -> StageLosses:
        return compute_losses(outputs, labels, self._recipe.supervision, self._recipe.keypoint_table.sigmas)

    def metadata(self) -> CheckpointMetadata:
        recipe, skeleton = self._recipe, self._recipe.keypoint_table
        if self._category and not skeleton.category:
            named = skeleton.model_copy(update={"category": self._category})
            recipe = recipe.model_copy(update={"skeleton": named})
        return CheckpointMetadata(
            recipe=recipe, data=tuple(config.without_places().name for config in self._recipe.data.train)
        )

    def fingerprints(self) -> tuple[SetFingerprint, ...]:
        root = Path(self._recipe.data.root)
        return tuple(
            fingerprint(
                root,
                config.annotations,
                config.faces,
                corrections=config.corrections,
                images=len(np.unique(people.image_index)),
                people=len(people),
            )
            for config, people in zip(self._recipe.data.train, self._sets, strict=True)
        )

    def write_sheet(self, run: Path, draws: Sequence[SampleRequest]) -> None:
        write_sheet(run, self._samples, draws, self.data.set_sizes)


class DetectorTask(Task):
    def __init__(self, recipe: DetectorRecipe, device: torch.device, processes: Processes) -> None:
        """Read the recipe's sets; errors as in `read_scenes`, `ScenesWithTeacher` and `DetectorValidation`."""
        self._recipe = recipe
        self._sets: list[Scenes] = read_by_first(
            processes, lambda: [read_scenes(config, recipe.data) for config in recipe.data.train]
        )
        scenes = merge_scenes(self._sets)
        self._samples = SceneDataset(scenes, recipe.scene, recipe.train.seed)
        teacher = recipe.distillation.teacher
        self.data = TrainingData(
            [len(scene_set) for scene_set in self._sets],
            [config.weight for config in recipe.data.train],
            self._samples if teacher is None else ScenesWithTeacher(self._samples, teacher),
            scenes.images,
            np.arange(len(scenes)),
        )
        self._label_weight = 1.0 if teacher is None else recipe.distillation.label_weight
        self.validation = DetectorValidation(recipe, device, processes)

    def build_network(self) -> PersonDetector:
        return PersonDetector(self._recipe.model)

    def compute_losses(self, outputs: Candidates, labels: SceneLabels) -> DetectionLosses:
        return detection_losses(outputs, labels, self._label_weight)

    def metadata(self) -> DetectorMetadata:
        return DetectorMetadata(
            recipe=self._recipe, data=tuple(config.without_places().annotations for config in self._recipe.data.train)
        )

    def fingerprints(self) -> tuple[SetFingerprint, ...]:
        root = Path(self._recipe.data.root)
        return tuple(
            fingerprint(
                root,
                config.annotations,
                config.proposals,
                images=len(scenes),
                people=int((scenes.kinds == PERSON).sum()),
            )
            for config, scenes in zip(self._recipe.data.train, self._sets, strict=True)
        )

    def write_sheet(self, run: Path, draws: Sequence[SampleRequest]) -> None:
        write_scene_sheet(run, self._samples, draws)


class ScenesWithTeacher(Dataset[SceneSample]):
    """Scenes, with what another detector says of each of their cells."""

    def __init__(self, scenes: SceneDataset, teacher: str) -> None:
        """Try the teacher on an empty scene.

        Args:
            scenes: of the size of its input.
            teacher: as `--detector` takes it.

        Raises:
            DetectorError: if it cannot be opened, or has other cells than the network that it is to teach.
        """
        self._scenes = scenes
        self._name = teacher
        self._teacher: OnnxDetector | None = None  # which each process opens for itself
        side = scenes.config.side
        num_cells = sum((side // stride) ** 2 for stride in STRIDES)
        scores, _ = _open_teacher(teacher).score_cells(np.zeros((side, side, 3), np.uint8))
        if len(scores) != num_cells:
            raise DetectorError(
                f"distillation.teacher: {teacher} has {len(scores)} cells, not one for each of {num_cells} at 1/8, 1/16"
                f" and 1/32 of {side} pixels; take another network, or train without one"
            )

    def __getitem__(self, request: SampleRequest) -> SceneSample:
        sample = self._scenes[request]
        self._teacher = self._teacher or _open_teacher(self._name)
        scores, boxes = map(torch.from_numpy, self._teacher.score_cells(sample.pixels.numpy()))
        return sample._replace(labels=sample.labels._replace(teacher_scores=scores, teacher_boxes=boxes))


def _open_teacher(name: str) -> OnnxDetector:
    teacher = make_detector(name)
    if not isinstance(teacher, OnnxDetector):
        raise DetectorError(f"distillation.teacher: {name} is no ONNX file of a family that docs/detectors.md lists")
    return teacher


class _ValidationSet:
    """The validation set of a recipe."""

    def __init__(self, recipe: AnyRecipe, skeleton: Skeleton, device: torch.device, processes: Processes) -> None:
        """Read the set; where its files are missing, nothing is measured, and the first process logs a warning.

        Raises:
            AnnotationError: if the labels are of no use.
        """
        self._device = device
        self._processes = processes
        self._ground_truth: CocoPeople | None = None
        config = recipe.data.validation
        if config is None:
            return
        root = Path(recipe.data.root)
        annotations, self._images = root / config.annotations, config.image_folder(root)
        missing = next((path for path in (annotations, self._images) if not path.exists()), None)
        if missing is None:
            category = config.category if isinstance(config, PeopleSetConfig) else None
            self._ground_truth = read_ground_truth(annotations, skeleton, category)
            if not (isinstance(config, PeopleSetConfig) and config.allow_outside):
                refuse_outside(annotations, (image.file_name for image in self._ground_truth.images))
        elif processes.is_first:
            logger.warning("no validation: there is no %s; data.validation names it", missing)

    @property
    def is_possible(self) -> bool:
        """False where there is no set."""
        return self._ground_truth is not None

    def _copy(self, network: Network) -> Network:
        """A copy to measure; its batch norms have the statistics of the first process."""
        network = copy.deepcopy(network)
        for buffer in network.buffers():
            self._processes.copy_from_first(buffer)
        return network


class Validation(_ValidationSet):
    """Measures pose networks in labeled boxes, with the recipe's test settings."""

    def __init__(self, recipe: Recipe, device: torch.device, processes: Processes) -> None:
        super().__init__(recipe, recipe.keypoint_table, device, processes)
        self._recipe = recipe

    def measure(
        self, network: PoseNetwork, report: Callable[[int, int], None] = lambda _done, _total: None
    ) -> dict[str, float]:
        """COCO's ten numbers of a network, which stays as it is; the processes share the images."""
        assert self._ground_truth is not None
        precision: Precision = "bfloat16" if self._recipe.train.precision == "bfloat16" else "float32"
        estimator = PoseEstimator(
            Checkpoint(CheckpointMetadata(recipe=self._recipe), self._copy(network)),
            "none",
            device=str(self._device),
            precision=precision,
        )
        predictions = predict_people(estimator, self._ground_truth, self._images, None, report, self._processes)
        return average_precision(self._ground_truth, predictions.rows, self._recipe.keypoint_table)


class DetectorValidation(_ValidationSet):
    """Measures detectors by the average precision of their boxes."""

    def __init__(self, recipe: DetectorRecipe, device: torch.device, processes: Processes) -> None:
        super().__init__(recipe, COCO_17, device, processes)

    def measure(
        self, network: PersonDetector, report: Callable[[int, int], None] = lambda _done, _total: None
    ) -> dict[str, float]:
        """COCO's numbers for boxes of a network, which stays as it is; the processes share the images."""
        assert self._ground_truth is not None
        detector = EmbeddedPersonDetector(self._copy(network).eval(), self._device, "float32")
        detections = detect_people(detector, self._ground_truth, self._images, report, self._processes)
        return box_average_precision(self._ground_truth, detections)
