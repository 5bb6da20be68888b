"""Validation during training: of pose networks and of person detectors."""

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mspn.checkpoints.format import Checkpoint, CheckpointMetadata
from mspn.config.recipe import DetectorRecipe, Recipe
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.distributed import Processes
from mspn.evaluation.metrics.average_precision import average_precision, box_average_precision, read_ground_truth
from mspn.evaluation.metrics.detection import detect_people
from mspn.evaluation.predicting import predict_people
from mspn.inference.devices import Precision
from mspn.labels.formats.coco import CocoPeople
from mspn.models.base import Network, PoseNetwork
from mspn.models.person_detector import PersonDetector
from mspn.predict.estimator import PoseEstimator
from mspn.structures.skeletons import COCO_17

logger = logging.getLogger(__name__)


def exist(needed: Sequence[Path], processes: Processes) -> bool:
    """Whether the files of a validation set exist; if not, the first process warns."""
    missing = next((path for path in needed if not path.exists()), None)
    if missing is not None and processes.is_first:
        logger.warning("no validation: there is no %s; data.validation names it", missing)
    return missing is None


def copy_of_first(network: Network, processes: Processes) -> Network:
    """A copy to measure, with the statistics of batch norms that the first process has."""
    network = copy.deepcopy(network)
    for buffer in network.buffers():
        processes.copy_from_first(buffer)
    return network


class Validation:
    """A labeled set to measure networks on, with its labeled boxes and the recipe's test settings."""

    def __init__(self, recipe: Recipe, device: torch.device, processes: Processes) -> None:
        """Read the recipe's validation set; where its files are missing, nothing is measured, and a warning says so.

        Raises:
            AnnotationError: if the labels are of no use.
        """
        self._recipe = recipe
        self._device = device
        self._processes = processes
        self._ground_truth: CocoPeople | None = None
        config = recipe.data.validation
        if config is None:
            return
        root = Path(recipe.data.root)
        self._images = root / config.images
        if exist([root / config.annotations, self._images], processes):
            self._ground_truth = read_ground_truth(root / config.annotations, recipe.keypoint_table)

    @property
    def is_possible(self) -> bool:
        """False where there is no set."""
        return self._ground_truth is not None

    def measure(
        self, network: PoseNetwork, report: Callable[[int, int], None] = lambda _done, _total: None
    ) -> dict[str, float]:
        """COCO's ten numbers of a network, which stays as it is; the processes share the images."""
        assert self._ground_truth is not None
        network = copy_of_first(network, self._processes)
        precision: Precision = "bfloat16" if self._recipe.train.precision == "bfloat16" else "float32"
        estimator = PoseEstimator(
            Checkpoint(CheckpointMetadata(recipe=self._recipe), network),
            "none",
            device=str(self._device),
            precision=precision,
        )
        predictions = predict_people(estimator, self._ground_truth, self._images, None, report, self._processes)
        return average_precision(self._ground_truth, predictions.rows, self._recipe.keypoint_table)


class DetectorValidation:
    """A labeled set to measure detectors on."""

    def __init__(self, recipe: DetectorRecipe, device: torch.device, processes: Processes) -> None:
        """Read the recipe's validation set; where its files are missing, nothing is measured, and a warning says so.

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
        self._images = root / config.images
        if exist([root / config.annotations, self._images], processes):
            self._ground_truth = read_ground_truth(root / config.annotations, COCO_17)

    @property
    def is_possible(self) -> bool:
        """False where there is no set."""
        return self._ground_truth is not None

    def measure(
        self, network: PersonDetector, report: Callable[[int, int], None] = lambda _done, _total: None
    ) -> dict[str, float]:
        """COCO's numbers for boxes of a network, which stays as it is; the processes share the images."""
        assert self._ground_truth is not None
        network = copy_of_first(network, self._processes)
        detector = EmbeddedPersonDetector(network.eval(), self._device, "float32")
        detections = detect_people(detector, self._ground_truth, self._images, report, self._processes)
        return box_average_precision(self._ground_truth, detections)
