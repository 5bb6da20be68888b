"""A network that has learned nothing, for tests of what is done with its results."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mspn.model.build import build_network
from mspn.predict.estimator import PoseEstimator
from mspn.recipes import override
from mspn.weights.checkpoint import Checkpoint, Header
from tests.trained import small_and_fast, tiny_recipe


def untrained_estimator(folder: Path, settings: Sequence[str] = (), batch_size: int = 3) -> PoseEstimator:
    """The same random network each time."""
    recipe = override(small_and_fast(tiny_recipe(folder, iterations=2)), settings)
    torch.manual_seed(5)
    network = build_network(recipe.model).eval()
    checkpoint = Checkpoint(Header(recipe=recipe), network)
    return PoseEstimator(checkpoint, device="cpu", precision="float32", batch_size=batch_size)
