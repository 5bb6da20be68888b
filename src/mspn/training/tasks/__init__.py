"""The task that a recipe asks for."""

import torch

from mspn.config.recipe import AnyRecipe, DetectorRecipe
from mspn.distributed import Processes
from mspn.training.task import Task
from mspn.training.tasks.detection import DetectorTask
from mspn.training.tasks.pose import PoseTask


def read_task(recipe: AnyRecipe, device: torch.device, processes: Processes) -> Task:
    """A recipe with its data; errors as of the tasks."""
    if isinstance(recipe, DetectorRecipe):
        return DetectorTask(recipe, device, processes)
    return PoseTask(recipe, device, processes)
