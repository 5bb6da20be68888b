"""Average precision of a detector's boxes on a validation set while training goes on."""

from pathlib import Path

import torch

from mspn.config import DetectorRecipe
from mspn.data.coco import CocoPeople
from mspn.detect.people_finder import PeopleFinder
from mspn.evaluate.average_precision import box_average_precision, read_truth
from mspn.evaluate.detections import find_everyone
from mspn.model.person_detector import PersonDetector
from mspn.processes import Processes
from mspn.skeleton import COCO_17
from mspn.train.validation import are_there, copy_of_first


class DetectorValidation:
    """A labelled set to measure detectors on."""

    def __init__(self, recipe: DetectorRecipe, device: torch.device, processes: Processes) -> None:
        """Read the recipe's validation set; where its files are missing, nothing is measured, and a warning says so.

        Raises:
            AnnotationError: if the labels are of no use.
        """
        self._device = device
        self._processes = processes
        self._truth: CocoPeople | None = None
        config = recipe.data.validation
        if config is None:
            return
        root = Path(recipe.data.root)
        self._images = root / config.images
        if are_there([root / config.annotations, self._images], processes):
            self._truth = read_truth(root / config.annotations, COCO_17)

    @property
    def is_possible(self) -> bool:
        """False where there is no set."""
        return self._truth is not None

    def measure(self, network: PersonDetector) -> dict[str, float]:
        """COCO's numbers for boxes of a network, which stays as it is; the processes share the pictures."""
        assert self._truth is not None
        network = copy_of_first(network, self._processes)
        finder = PeopleFinder(network.eval(), self._device, "float32")
        found = find_everyone(finder, self._truth, self._images, self._processes)
        return box_average_precision(self._truth, found)
