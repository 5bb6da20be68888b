import copy

import pytest
import torch
from torch import Tensor, nn

from mspn.config.model import ModelConfig, NetworkConfig, PoseRefineForm
from mspn.config.recipes import RECIPES
from mspn.inference.fold import OneDnnConv, can_prepack, find_unused, prepare
from mspn.models import build_network
from mspn.models.base import RELEASED_PEAK, PoseNetwork
from mspn.models.mspn import MSPN
from tests.config.test_every_recipe import small
from tests.golden import assert_summary_matches, golden_inputs, golden_network, golden_network_figures

CPU = torch.device("cpu")
_NAMES = ("mspn-2", "mspn-small", "mspn-tiny", "s-xcp-4", "hourglass-2", "simplebaseline-50", "cpn-50", "rsn-50")


def _with_used_norms(config: NetworkConfig) -> PoseNetwork:
    """A narrow network whose norms all change what they see."""
    torch.manual_seed(3)
    network = build_network(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network


@pytest.mark.parametrize("name", _NAMES)
def test_prepared_networks_give_the_same_answers(name: str):
    network = _with_used_norms(small(RECIPES[name]).model)
    crops = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(4))

    with torch.inference_mode():
        expected = network.final_heatmaps(crops)
        exact = prepare(network, CPU, torch.float32, find_unused(network)).final_heatmaps(crops)
        rough = prepare(network, CPU, torch.bfloat16, find_unused(network)).final_heatmaps(crops.bfloat16())

    torch.testing.assert_close(exact, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    # Random weights add up what trained ones let cancel out; of those of the released code's size, below, 2 % remain.
    assert (rough - expected).norm() < 0.15 * expected.norm()


@pytest.mark.parametrize("machine", ["official", "mmpose"])
def test_prepared_networks_refine_their_heat_maps_alike(machine: PoseRefineForm):
    config = small(RECIPES["rsn-18"]).model.model_copy(update={"pose_refine_machine": machine})
    network = _with_used_norms(config)
    crops = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(4))

    with torch.inference_mode():
        expected = network.final_heatmaps(crops)
        prepared = prepare(network, CPU, torch.float32, find_unused(network)).final_heatmaps(crops)

    torch.testing.assert_close(prepared, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_the_prepared_network_gives_the_released_codes_answers():
    network, crops = golden_network(2), golden_inputs().crops

    with torch.inference_mode():
        heatmaps = prepare(network, CPU, torch.float32, find_unused(network)).final_heatmaps(crops)

    assert_summary_matches(heatmaps * RELEASED_PEAK, golden_network_figures(2)["heatmaps"][-1][0])


def test_bfloat16_answers_within_2_percent_of_float32():
    network, crops = golden_network(2), golden_inputs().crops[:1]

    with torch.inference_mode():
        expected = network.final_heatmaps(crops)
        heatmaps = prepare(network, CPU, torch.bfloat16).final_heatmaps(crops.bfloat16())

    assert (heatmaps - expected).norm() < 0.02 * expected.norm()


def test_what_was_prepared_for_one_size_answers_at_another():
    network = _with_used_norms(ModelConfig(backbone="resnet18", num_stages=2, stem_channels=8, up_channels=8))
    prepared = prepare(network, CPU, torch.float32)
    small_crops, large_crops = torch.randn(1, 3, 64, 32), torch.randn(3, 3, 96, 128)

    with torch.inference_mode():
        prepared.final_heatmaps(small_crops)
        again = prepared.final_heatmaps(large_crops)
        expected = network.final_heatmaps(large_crops)

    torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


_SHAPES = [(2, 64, 8, 6), (1, 64, 64, 48), (3, 64, 8, 6), (8, 64, 16, 12), (2, 64, 8, 6)]


@pytest.mark.skipif(not can_prepack(CPU, torch.float32), reason="this processor is not for packed convolutions")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_have_the_layout_of_the_shape_whatever_came_before(dtype: torch.dtype):
    if not can_prepack(CPU, dtype):
        pytest.skip("nor for bfloat16")
    torch.manual_seed(5)
    conv = nn.Conv2d(64, 64, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)
    used = OneDnnConv(conv)

    for shape in _SHAPES:
        x = torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)
        fresh = OneDnnConv(conv)
        with torch.inference_mode():
            answer, expected = used(x), fresh(x)
        assert torch.equal(answer, expected)
        assert _layout(used, x) == _layout(fresh, x)


@pytest.mark.skipif(not can_prepack(CPU, torch.float32), reason="this processor is not for packed convolutions")
def test_shapes_of_one_layout_share_weights_and_many_shapes_are_forgotten():
    layer = OneDnnConv(nn.Conv2d(4, 4, 1))

    with torch.inference_mode():
        for width in range(1, 200):
            layer(torch.zeros(1, 4, 2, width))

    packed = list(layer._packed_by_shape.values())
    assert len(packed) <= 64
    assert len({id(weight) for weight in packed}) <= len(layer._packed_by_layout) <= 4


def _layout(layer: OneDnnConv, x: Tensor) -> bytes:
    return bytes(torch.ops.mkldnn._get_mkldnn_serialized_md(layer._packed_weight(x)).numpy())


def test_the_network_itself_stays_as_it_is():
    network = _with_used_norms(ModelConfig(backbone="resnet18", stem_channels=8, up_channels=8))
    before = copy.deepcopy(network.state_dict())

    prepared = prepare(network, CPU, torch.float32, find_unused(network))
    with torch.inference_mode():
        prepared.final_heatmaps(torch.randn(1, 3, 64, 64))

    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_only_the_last_stages_finest_head_is_used():
    network = MSPN(ModelConfig(backbone="resnet18", num_stages=2, stem_channels=4, up_channels=4)).eval()
    heads = [*network.stages[0].heads, *network.stages[1].heads[1:]]
    layers = [layer for head in heads for layer in (head.reduce, head.predict)]

    unused = find_unused(network)

    assert unused == {part for layer in layers for part in (layer.conv, layer.norm)}


def test_nothing_unused_is_kept():
    network = MSPN(ModelConfig(backbone="resnet18", num_stages=2, stem_channels=4, up_channels=4)).eval()

    prepared = prepare(network, CPU, torch.float32, find_unused(network))

    kept = [type(module) for module in prepared.stages[0].heads.modules()]
    assert not {nn.Conv2d, nn.BatchNorm2d, OneDnnConv} & set(kept)


@pytest.mark.skipif(not can_prepack(CPU, torch.float32), reason="this processor is not for packed convolutions")
def test_every_convolution_of_mspn_is_packed():
    prepared = prepare(
        MSPN(ModelConfig(backbone="resnet18", stem_channels=4, up_channels=4)).eval(), CPU, torch.float32
    )

    assert not any(isinstance(module, nn.Conv2d | nn.BatchNorm2d) for module in prepared.modules())


def test_graphics_cards_have_convolutions_of_their_own():
    assert not can_prepack(torch.device("cuda"), torch.float32)
