"""Training tasks: keypoints of people, and boxes of people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mspn.checkpoints.format import CheckpointMetadata, DetectorMetadata, SetFingerprint
from mspn.config.recipe import AnyRecipe, DetectorRecipe, Recipe
from mspn.datasets.crop_dataset import CropDataset, read_training_sets
from mspn.datasets.packed import with_packed_sets
from mspn.datasets.people import merge
from mspn.datasets.samples import PERSON, KeypointLabels, SampleRequest, SceneLabels
from mspn.datasets.scenes import SceneDataset, Scenes, merge_scenes, read_scenes
from mspn.datasets.workers import read_by_first
from mspn.distributed import Processes
from mspn.models import build_network
from mspn.models.base import PoseNetwork
from mspn.models.person_detector import Candidates, PersonDetector
from mspn.training.environment import fingerprint
from mspn.training.losses.detection import DetectionLosses, detection_losses
from mspn.training.losses.keypoint import StageLosses, compute_losses
from mspn.training.sample_sheets import write_scene_sheet, write_sheet
from mspn.training.task import Task, TrainingData
from mspn.training.validation import DetectorValidation, Validation


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
        return compute_losses(outputs, labels, self._recipe.supervision)

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
        """Read the recipe's sets; errors as in `read_scenes` and `DetectorValidation`."""
        self._recipe = recipe
        self._sets: list[Scenes] = read_by_first(
            processes, lambda: [read_scenes(config, recipe.data) for config in recipe.data.train]
        )
        scenes = merge_scenes(self._sets)
        self._samples = SceneDataset(scenes, recipe.scene, recipe.train.seed)
        self.data = TrainingData(
            [len(scene_set) for scene_set in self._sets],
            [config.weight for config in recipe.data.train],
            self._samples,
            scenes.images,
            np.arange(len(scenes)),
        )
        self.validation = DetectorValidation(recipe, device, processes)

    def build_network(self) -> PersonDetector:
        return PersonDetector(self._recipe.model)

    def compute_losses(self, outputs: Candidates, labels: SceneLabels) -> DetectionLosses:
        return detection_losses(outputs, labels)

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
