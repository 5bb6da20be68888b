"""The task that a recipe asks for."""

import torch

from mspn.config import AnyRecipe, DetectorRecipe
from mspn.processes import Processes
from mspn.train.detector_task import DetectorTask
from mspn.train.pose_task import PoseTask
from mspn.train.task import Task


def read_task(recipe: AnyRecipe, device: torch.device, processes: Processes) -> Task:
    """A recipe with its data; errors as of the tasks."""
    if isinstance(recipe, DetectorRecipe):
        return DetectorTask(recipe, device, processes)
    return PoseTask(recipe, device, processes)
