"""A network that has learned nothing, for tests of what is done with its results."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mspn.checkpoints.format import Checkpoint, save_weights
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.models import build_network
from mspn.predict.estimator import PoseEstimator
from tests.trained import small_and_fast, tiny_recipe


def untrained(folder: Path, settings: Sequence[str] = ()) -> Checkpoint:
    """The same random network each time, of one stage unless the settings say otherwise."""
    recipe = small_and_fast(tiny_recipe(folder, iterations=2), settings)
    torch.manual_seed(5)
    return Checkpoint(CheckpointMetadata(recipe=recipe), build_network(recipe.model).eval())


def untrained_estimator(folder: Path, settings: Sequence[str] = ()) -> PoseEstimator:
    """What finds poses with it, three people at once."""
    return PoseEstimator(untrained(folder, settings), "none", device="cpu", precision="float32", batch_size=3)


def untrained_weights(folder: Path, settings: Sequence[str] = ()) -> Path:
    """Its weights file."""
    checkpoint = untrained(folder, settings)
    path = folder / "untrained.safetensors"
    save_weights(path, checkpoint.model, checkpoint.metadata)
    return path
