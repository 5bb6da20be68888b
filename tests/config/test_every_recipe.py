"""Every recipe, small: a training step; and every network of one: weights saved and loaded, prediction, export.

A network is narrow, on a small crop, with the first two of more stages and of more blocks in a row: further ones would
only repeat them.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from mspn.checkpoints.format import read_metadata, save_weights
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.model import HourglassConfig, ModelConfig, NetworkConfig
from mspn.config.recipe import Recipe
from mspn.config.recipes import RECIPES, STUDY_RECIPES
from mspn.datasets.samples import KeypointLabels
from mspn.models import build_network
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Size
from mspn.training.losses import compute_losses
from tests.shallow import cut_backbones, cut_stages, first_alike

_CROP = Size(64, 32)


def small(recipe: Recipe) -> Recipe:
    """The same network, narrow, on a small crop, with at most two stages."""
    shape = recipe.model
    narrower: dict[str, object] = {"stem_channels": 4, "input_size": _CROP}
    if isinstance(shape, ModelConfig):
        narrower["stages"] = tuple(stage.model_copy(update={"stem_channels": 4}) for stage in shape.stages)
    narrower["channels" if isinstance(shape, HourglassConfig) else "up_channels"] = 8
    return recipe.model_copy(update={"model": cut_stages(shape.model_copy(update=narrower))})


def one_stage_of_other_backbones(config: NetworkConfig) -> NetworkConfig:
    """Whatever is between stages and after them is the same with every backbone; ResNet-18 has it all."""
    if isinstance(config, ModelConfig) and config.backbone != "resnet18" and not config.stages:
        return config.model_copy(update={"num_stages": 1, "aggregation": True, "coarse_heads": True})
    return config


_REFINED = {
    f"refined, {form}": RECIPES["resnet18-2"].model_copy(
        update={
            "name": f"refined, {form}",
            "model": RECIPES["resnet18-2"].model.model_copy(update={"pose_refine_machine": form}),
        }
    )
    for form in ("official", "mmpose")
}
"""A setting of all networks of this kind that no recipe has."""
_EVERY = {**RECIPES, **STUDY_RECIPES, **_REFINED}
_SMALL = [small(recipe) for recipe in _EVERY.values()]
_NETWORKS = {one_stage_of_other_backbones(first_alike(recipe.model)): recipe.name for recipe in _SMALL}
"""Those that have other parts, by the last recipe that has them."""
_PREDICTING = {(first_alike(recipe.model), recipe.test, recipe.skeleton): recipe for recipe in _SMALL}
"""The recipes whose predictions may differ."""


@pytest.fixture(autouse=True)
def _two_blocks_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_backbones(monkeypatch)


@pytest.mark.parametrize("recipe", _SMALL, ids=_EVERY)
def test_it_trains(recipe: Recipe, tmp_path: Path):
    torch.manual_seed(1)
    network = build_network(recipe.model).train()
    crops = torch.randn(2, 3, *_CROP)
    labels = KeypointLabels(torch.rand(2, 17, 2) * 31, torch.full((2, 17), 2), torch.ones(2, 17, dtype=torch.bool))

    losses = compute_losses(network(crops), labels, recipe.supervision, recipe.keypoint_table.sigmas)
    losses.total.backward()
    torch.optim.Adam(network.parameters(), lr=1e-3).step()
    save_weights(tmp_path / "weights.safetensors", network, CheckpointMetadata(recipe=recipe))

    assert torch.isfinite(losses.total)
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert read_metadata(tmp_path / "weights.safetensors").recipe == recipe


@pytest.mark.parametrize("recipe", _PREDICTING.values(), ids=lambda recipe: recipe.name)
def test_its_weights_predict(recipe: Recipe, tmp_path: Path):
    torch.manual_seed(1)
    save_weights(tmp_path / "weights.safetensors", build_network(recipe.model), CheckpointMetadata(recipe=recipe))

    (pose,) = PoseEstimator(tmp_path / "weights.safetensors", "none")(np.zeros((80, 60, 3), np.uint8))

    assert np.isfinite(pose.keypoints_image).all()


@pytest.mark.slow  # tests/models/test_base.py exports one of each kind
@pytest.mark.parametrize("config", _NETWORKS, ids=_NETWORKS.values())
def test_it_can_be_exported(config: NetworkConfig):
    network = build_network(config).eval()
    crops = torch.randn(1, 3, *_CROP, generator=torch.Generator().manual_seed(2))

    exported = torch.export.export(network, (crops,)).module()

    for levels, expected in zip(exported(crops), network(crops), strict=True):
        for maps, expected_maps in zip(levels, expected, strict=True):
            torch.testing.assert_close(maps, expected_maps)
