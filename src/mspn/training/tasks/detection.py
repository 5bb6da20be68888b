"""Learning to find people: scenes composed of images, boxes labeled or proposed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mspn.checkpoints.format import DetectorMetadata
from mspn.checkpoints.provenance import SetFingerprint
from mspn.config.recipe import DetectorRecipe
from mspn.datasets.samples import PERSON, SampleRequest, SceneLabels
from mspn.datasets.scene_dataset import SceneDataset
from mspn.datasets.scenes import Scenes, merge_scenes, read_scenes
from mspn.distributed import Processes
from mspn.models.person_detector import Candidates, PersonDetector
from mspn.training.environment import fingerprint
from mspn.training.losses.detection import DetectionLosses, detection_losses
from mspn.training.sample_sheets import write_scene_sheet
from mspn.training.task import Task, TrainingData
from mspn.training.validation import DetectorValidation


class DetectorTask(Task):
    def __init__(self, recipe: DetectorRecipe, device: torch.device, processes: Processes) -> None:
        """Read the recipe's sets; errors as in `read_scenes` and `DetectorValidation`."""
        self._recipe = recipe
        self._sets: list[Scenes] = [read_scenes(config, recipe.data) for config in recipe.data.train]
        scenes = merge_scenes(self._sets)
        self._samples = SceneDataset(scenes, recipe.scene, recipe.train.seed)
        self.data = TrainingData([len(one) for one in self._sets], self._samples, scenes.images, np.arange(len(scenes)))
        self.validation = DetectorValidation(recipe, device, processes)

    def build_network(self) -> PersonDetector:
        return PersonDetector(self._recipe.model)

    def compute_losses(self, outputs: Candidates, labels: SceneLabels) -> DetectionLosses:
        return detection_losses(outputs, labels)

    def header(self) -> DetectorMetadata:
        return DetectorMetadata(recipe=self._recipe, data=tuple(one.annotations for one in self._recipe.data.train))

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
