from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mspn.cli.models import listed_costs
from mspn.config.model import ModelConfig, NetworkConfig
from mspn.config.recipes import RECIPES, find_recipe
from mspn.models import build_network
from mspn.models.blocks import resize
from mspn.models.cost import _EmptyResize, count_cost
from mspn.models.mspn import UpUnit
from mspn.structures.boxes import Size
from tests.shallow import cut_backbones, cut_stages, first_alike

PAPER = {  # Tables 2 to 4, in more digits where the counting gives them
    "mspn-1": 4.415,
    "mspn-2": 9.571,
    "mspn-3": 14.728,
    "mspn-4": 19.884,
    "resnet152": 11.19,
    "resnet254": 17.96,
    "hourglass-1": 3.938,
    "hourglass-2": 6.164,
    "hourglass-4": 10.615,
    "hourglass-8": 19.518,
    "mspn-4-384x288": 44.74,
}
_STRUCTURES = {cut_stages(first_alike(recipe.model)): name for name, recipe in RECIPES.items()}
"""Networks that differ by more than how often they repeat a part, by the last recipe that has them."""


@pytest.fixture
def two_blocks_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_backbones(monkeypatch)


@pytest.mark.parametrize(("name", "gmacs"), PAPER.items())
def test_networks_cost_what_the_paper_says_counted_its_way(name: str, gmacs: float):
    cost = count_cost(find_recipe(name).model, "paper").total

    assert cost.gmacs == pytest.approx(gmacs, abs=0.01)
    assert cost.gmacs_inference == cost.gmacs


@pytest.mark.parametrize(("name", "gmacs"), [("l-xcp", 6.1), ("s-xcp-4", 5.7)])
def test_the_xceptions_cost_what_the_paper_says(name: str, gmacs: float):
    assert count_cost(find_recipe(name).model, "paper").total.gmacs == pytest.approx(gmacs, abs=0.05)


def test_two_stages_of_resnet_18_cost_the_papers_4_0_only_when_narrower():
    standard, narrower = (ModelConfig(backbone="resnet18", up_channels=width) for width in (256, 200))

    assert count_cost(standard, "paper").total.gmacs == pytest.approx(4.35, abs=0.01)
    assert count_cost(narrower, "paper").total.gmacs == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize(
    ("num_stages", "params", "gmacs", "gmacs_inference"),
    [
        (1, 25_112_264, 5.073, 4.967),
        (2, 56_800_464, 11.263, 10.730),
        (3, 88_488_664, 17.453, 16.493),
        (4, 120_176_864, 23.643, 22.256),
    ],
)
def test_published_costs_of_mspn(num_stages: int, params: int, gmacs: float, gmacs_inference: float):
    cost = count_cost(ModelConfig(num_stages=num_stages)).total

    assert cost.params == params
    assert cost.gmacs == pytest.approx(gmacs, abs=5e-4)
    assert cost.gmacs_inference == pytest.approx(gmacs_inference, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "millions"), [("simplebaseline-50", 34.0), ("simplebaseline-101", 53.0), ("simplebaseline-152", 68.6)]
)
def test_simple_baselines_have_their_papers_parameters(name: str, millions: float):
    assert count_cost(find_recipe(name).model).total.params / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("name", {recipe.model: name for name, recipe in RECIPES.items()}.values())
def test_listed_costs_are_those_that_are_counted(name: str):
    config = find_recipe(name).model

    cost = count_cost(config).total

    for other, recipe in RECIPES.items():
        if recipe.model == config:
            assert listed_costs().get(other) == cost, "mspn models cost --all --json > src/mspn/assets/costs.json"


@pytest.mark.parametrize("config", _STRUCTURES, ids=_STRUCTURES.values())
@pytest.mark.usefixtures("two_blocks_in_a_row")
def test_published_multiply_adds_are_half_of_the_operations_that_torch_counts(
    config: NetworkConfig, monkeypatch: pytest.MonkeyPatch
):
    with torch.device("meta"):
        network = build_network(config).eval()
        crops = torch.zeros(1, 3, *config.input_size)
    for module in list(network.modules()):  # batch norms count nothing, and take time
        for child_name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, child_name, nn.Identity())

    cost = count_cost(config).total
    monkeypatch.setattr(UpUnit, "forward", _forward_as_published)

    assert cost.gmacs * 2e9 == pytest.approx(_operations(network, crops), rel=1e-12)
    assert cost.gmacs_inference * 2e9 == pytest.approx(_operations(network.final_heatmaps, crops), rel=1e-12)


@pytest.mark.parametrize(
    "name", ["mspn-1", "mspn-2", "hourglass-2", "hourglass-4-csfa", "simplebaseline-50", "cpn-50", "l-xcp", "mspn-tiny"]
)
@pytest.mark.usefixtures("two_blocks_in_a_row")
def test_executed_multiply_adds_are_half_of_the_operations_that_torch_counts_on_the_built_network(name: str):
    config = find_recipe(name).model
    with torch.device("meta"):
        network = build_network(config).eval()
        crops = torch.zeros(1, 3, 64, 32)

    cost = count_cost(config, "executed", Size(64, 32)).total

    assert cost.gmacs * 2e9 == pytest.approx(_operations(network, crops), rel=1e-12)
    assert cost.gmacs_inference * 2e9 == pytest.approx(_operations(network.final_heatmaps, crops), rel=1e-12)


def test_two_stages_execute_10_866_billion_multiply_adds_where_the_released_code_has_11_263():
    # The 1x1 convolution from 256 to 256 channels runs before the resize, in three up-sampling units of two stages:
    # on 768 cells in place of 3072, 192 in place of 768, 48 in place of 192.
    saved = 2 * 256 * 256 * (3072 - 48) / 1e9

    published, executed = (count_cost(ModelConfig(num_stages=2), way).total for way in ("published", "executed"))

    assert published.gmacs - executed.gmacs == pytest.approx(saved)
    assert executed.gmacs == pytest.approx(10.866, abs=5e-4)
    assert published.gmacs_inference - executed.gmacs_inference == pytest.approx(saved)


def _forward_as_published(unit: UpUnit, down: torch.Tensor, coarser: torch.Tensor | None) -> torch.Tensor:
    """Resize first: the same heat maps at a higher cost."""
    merged = unit.lateral(down)
    if coarser is not None:
        merged = merged + unit.from_coarser(resize(coarser, *down.shape[-2:]))
    return merged.relu()


def _operations(run: Callable[[torch.Tensor], Any], crops: torch.Tensor) -> int:
    with torch.no_grad(), _EmptyResize(), FlopCounterMode(display=False) as counter:
        run(crops)
    return counter.get_total_flops()


def test_the_parts_add_up():
    cost = count_cost(find_recipe("hourglass-4-csfa").model)

    assert sum(part.params for part in cost.parts.values()) == cost.total.params
    assert sum(part.gmacs for part in cost.parts.values()) == pytest.approx(cost.total.gmacs)
    assert cost.parts["stages.0.heads"].gmacs > cost.parts["stages.0.heads"].gmacs_inference > 0


def test_heads_that_the_result_does_not_need_cost_nothing_at_inference():
    parts = count_cost(ModelConfig(num_stages=2)).parts

    assert parts["stages.0.heads"].gmacs > 0
    assert parts["stages.0.heads"].gmacs_inference == 0
    # The finest head: 1x1 from 256 to 256 and 3x3 from 256 to 17 channels, on 64 x 48 cells.
    assert parts["stages.1.heads"].gmacs_inference == pytest.approx((256 * 256 + 9 * 256 * 17) * 64 * 48 / 1e9)


def test_another_crop_size_costs_in_proportion():
    config = ModelConfig(num_stages=1)

    cost, larger = count_cost(config), count_cost(config, input_size=Size(512, 384))

    assert larger.total.gmacs == pytest.approx(4 * cost.total.gmacs)
    assert larger.total.params == cost.total.params


def test_a_size_that_the_network_does_not_take_is_refused():
    with pytest.raises(ValueError, match="multiples of 32 pixels, not 250x192"):
        count_cost(ModelConfig(num_stages=1), input_size=Size(250, 192))
