"""Learning poses: people cut out of pictures, coarse-to-fine supervision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mspn.config import Recipe
from mspn.data.dataset import CropDataset, Draw, read_training_sets
from mspn.data.people import merge
from mspn.loss import KeypointLabels, StageLosses, supervise
from mspn.model.build import build_network
from mspn.model.pose_network import PoseNetwork
from mspn.processes import Processes
from mspn.train.environment import fingerprint
from mspn.train.sheet import write_sheet
from mspn.train.task import Task, TrainingData
from mspn.train.validation import Validation
from mspn.weights.checkpoint import Header
from mspn.weights.session import SetFingerprint


class PoseTask(Task):
    def __init__(self, recipe: Recipe, device: torch.device, processes: Processes) -> None:
        """Read the recipe's sets; errors as in `read_training_sets` and `Validation`."""
        self._recipe = recipe
        self._sets = read_training_sets(recipe)
        people = merge(self._sets)
        self._samples = CropDataset(people, recipe)
        self.data = TrainingData(
            [len(one) for one in self._sets],
            self._samples,
            people.pictures,
            people.picture_index,
            grouping=people.picture_index if recipe.data.order == "pictures" else None,
        )
        self.validation = Validation(recipe, device, processes)

    def build_network(self) -> PoseNetwork:
        return build_network(self._recipe.model)

    def supervise(self, outputs: Any, labels: KeypointLabels) -> StageLosses:
        return supervise(outputs, labels, self._recipe.supervision)

    def header(self) -> Header:
        return Header(recipe=self._recipe, data=tuple(one.annotations for one in self._recipe.data.train))

    def fingerprints(self) -> tuple[SetFingerprint, ...]:
        root = Path(self._recipe.data.root)
        return tuple(
            fingerprint(
                root,
                config.annotations,
                config.faces,
                pictures=len(np.unique(people.picture_index)),
                people=len(people),
            )
            for config, people in zip(self._recipe.data.train, self._sets, strict=True)
        )

    def write_sheet(self, run: Path, draws: Sequence[Draw]) -> None:
        write_sheet(run, self._samples, draws, self.data.set_sizes)
