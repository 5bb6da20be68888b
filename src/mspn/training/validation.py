"""Validation during training: of pose networks and of person detectors."""

import copy
import logging
from collections.abc import Callable
from pathlib import Path

import torch

from mspn.checkpoints.format import Checkpoint, CheckpointMetadata
from mspn.config.data import PeopleSetConfig
from mspn.config.recipe import AnyRecipe, DetectorRecipe, Recipe
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.distributed import Processes
from mspn.evaluation.metrics.average_precision import average_precision, box_average_precision, read_ground_truth
from mspn.evaluation.metrics.detection import detect_people
from mspn.evaluation.predicting import predict_people
from mspn.inference.devices import Precision
from mspn.labels.formats.coco import CocoPeople
from mspn.labels.reading import refuse_outside
from mspn.models.base import Network, PoseNetwork
from mspn.models.person_detector import PersonDetector
from mspn.predict.estimator import PoseEstimator
from mspn.structures.skeleton import COCO_17, Skeleton

logger = logging.getLogger(__name__)


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
