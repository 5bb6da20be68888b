"""Networks by name: loading their weights."""

from pathlib import Path

from mspn.checkpoints.format import Checkpoint, DetectorCheckpoint, load_checkpoint, load_detector, read_metadata
from mspn.checkpoints.hub import find_weights
from mspn.checkpoints.index import load_index
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.model import NetworkConfig
from mspn.config.recipes import RECIPES, find_recipe
from mspn.errors import WeightsError
from mspn.models import build_network
from mspn.models.base import PoseNetwork


def find_shape(model: str | Path) -> NetworkConfig:
    """Shape of a network: of a named recipe, trained or not, or of a weights file; errors as in `find_weights`."""
    entry = None if isinstance(model, Path) else load_index().find(model)
    name = entry.recipe if entry is not None else str(model)
    if name in RECIPES:
        return RECIPES[name].model
    path = find_weights(model)
    metadata = read_metadata(path)
    if not isinstance(metadata, CheckpointMetadata):
        raise WeightsError(f"{path} is a person detector, not a pose network")
    return metadata.recipe.model


def load_named(model: str | Path) -> Checkpoint:
    """Load a model by name or file, with its metadata; errors as in `find_weights` and `load_checkpoint`."""
    return load_checkpoint(find_weights(model))


def load_named_detector(detector: str | Path) -> DetectorCheckpoint:
    """Load a person detector by name or file, with its metadata; errors as in `find_weights` and `load_detector`."""
    return load_detector(find_weights(detector))


def load_model(model: str | Path = "default") -> PoseNetwork:
    """Load a trained network in eval mode, by name or file; published weights are downloaded on first use.

    `model(crops)` takes normalized RGB crops (B, 3, H, W) and gives stages x levels of (B, K, H/4, W/4), finest
    level first, peak 1; `model.final_heatmaps(crops)` gives the last stage's finest level alone.

    >>> import torch
    >>> load_model("mspn-tiny").final_heatmaps(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 17, 16, 16])

    Raises:
        WeightsError: if there are no such weights; random ones never take their place.
    """
    return load_named(model).model


def build_model(name: str) -> PoseNetwork:
    """Build an untrained network of a named recipe, or of the recipe of named weights, with random weights.

    >>> import torch
    >>> build_model("mspn-tiny").final_heatmaps(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 17, 16, 16])

    Raises:
        ValueError: naming close ones, if there is no such recipe.
    """
    entry = load_index().find(name)
    return build_network(find_recipe(entry.recipe if entry is not None else name).model)
