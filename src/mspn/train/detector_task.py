"""Learning to find people: scenes composed of pictures, boxes labelled or proposed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mspn.config import DetectorRecipe
from mspn.data.dataset import Draw
from mspn.data.scene_dataset import SceneDataset
from mspn.data.scenes import Scenes, merge_scenes, read_scenes
from mspn.detection_loss import PERSON, DetectionLosses, SceneLabels, supervise_detections
from mspn.model.person_detector import Candidates, PersonDetector
from mspn.processes import Processes
from mspn.train.detector_validation import DetectorValidation
from mspn.train.environment import fingerprint
from mspn.train.scene_sheet import write_scene_sheet
from mspn.train.task import Task, TrainingData
from mspn.weights.checkpoint import DetectorHeader
from mspn.weights.session import SetFingerprint


class DetectorTask(Task):
    def __init__(self, recipe: DetectorRecipe, device: torch.device, processes: Processes) -> None:
        """Read the recipe's sets; errors as in `read_scenes` and `DetectorValidation`."""
        self._recipe = recipe
        self._sets: list[Scenes] = [read_scenes(config, recipe.data) for config in recipe.data.train]
        scenes = merge_scenes(self._sets)
        self._samples = SceneDataset(scenes, recipe.scene, recipe.train.seed)
        self.data = TrainingData(
            [len(one) for one in self._sets], self._samples, scenes.pictures, np.arange(len(scenes))
        )
        self.validation = DetectorValidation(recipe, device, processes)

    def build_network(self) -> PersonDetector:
        return PersonDetector(self._recipe.model)

    def supervise(self, outputs: Candidates, labels: SceneLabels) -> DetectionLosses:
        return supervise_detections(outputs, labels)

    def header(self) -> DetectorHeader:
        return DetectorHeader(recipe=self._recipe, data=tuple(one.annotations for one in self._recipe.data.train))

    def fingerprints(self) -> tuple[SetFingerprint, ...]:
        root = Path(self._recipe.data.root)
        return tuple(
            fingerprint(
                root,
                config.annotations,
                config.proposals,
                pictures=len(scenes),
                people=int((scenes.kinds == PERSON).sum()),
            )
            for config, scenes in zip(self._recipe.data.train, self._sets, strict=True)
        )

    def write_sheet(self, run: Path, draws: Sequence[Draw]) -> None:
        write_scene_sheet(run, self._samples, draws)
