"""Networks by name: finding, downloading and loading their weights."""

import difflib
from pathlib import Path

from mspn.checkpoints.format import (
    Checkpoint,
    CheckpointMetadata,
    DetectorCheckpoint,
    load_checkpoint,
    load_detector,
    read_metadata,
)
from mspn.checkpoints.hub.cache import cache_folder, download_weights
from mspn.checkpoints.hub.download import Report
from mspn.checkpoints.hub.index import ASSETS, load_index
from mspn.config.model import NetworkConfig
from mspn.config.recipes import DETECTOR_RECIPES, RECIPES, STUDY_RECIPES, find_recipe
from mspn.errors import WeightsError
from mspn.models import build_network
from mspn.models.base import PoseNetwork


def find_weights(model: str | Path, report: Report = lambda _done, _total: None) -> Path:
    """The weights file of a model: a name of `mspn models list`, or a file.

    Published weights are downloaded into the cache on first use. A `Path` is always a file.

    Args:
        model: name or file.
        report: called with the progress of a download.

    Raises:
        WeightsError: if there is no such file, a network of that name but no weights of it, or a download fails.
    """
    index, name = load_index(), str(model)
    entry = None if isinstance(model, Path) else index.find(name)
    if entry is not None:
        return ASSETS / entry.file if entry.file is not None else download_weights(entry, cache_folder(), report=report)
    if Path(name).is_file():
        return Path(name)
    if name in {**RECIPES, **STUDY_RECIPES, **DETECTOR_RECIPES} and not isinstance(model, Path):
        raise WeightsError(
            f"there are no weights of {name} in this version; train it (`mspn train {name} --out RUN`), give the"
            " path of a weights file, or convert a published checkpoint (`mspn models convert`)"
        )
    close = difflib.get_close_matches(name, [*index.names(), *RECIPES, *DETECTOR_RECIPES], n=1)
    hint = f"did you mean {close[0]!r}?" if close else "see `mspn models list`"
    raise WeightsError(f"no weights file at {name} and no model of that name; {hint}")


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
