import pytest
import torch
from torch import Tensor

from mspn.config.model import CPNConfig, ModelConfig, NetworkConfig, SimpleBaselineConfig
from mspn.models import build_network
from mspn.models.efficientnet import EfficientNetDown, InvertedResidual, build_efficientnet_stem

LITE0 = ModelConfig(backbone="efficientnet-lite0")


def test_the_stem_brings_crops_to_a_quarter_and_each_level_halves_the_size():
    with torch.device("meta"):
        stem, down = build_efficientnet_stem(LITE0), EfficientNetDown(LITE0)
        quarter = stem(torch.zeros(1, 3, 128, 96))
        features = down(quarter, [])

    assert quarter.shape == (1, 24, 32, 24)
    assert down.in_channels == 24
    assert down.out_channels == [24, 40, 112, 320]
    sizes = [(32, 24), (16, 12), (8, 6), (4, 3)]
    channels = down.out_channels
    assert [tuple(maps.shape) for maps in features] == [(1, c, *size) for c, size in zip(channels, sizes, strict=True)]


def test_it_has_the_convolutions_of_efficientnet_lite0():
    with torch.device("meta"):
        parts = [build_efficientnet_stem(LITE0), EfficientNetDown(LITE0)]
    parameters = sum(tensor.numel() for part in parts for tensor in part.parameters())

    # The published network's 4,652,008 parameters, less its classifier (1280 * 1000 + 1000) and the convolution and
    # norm in front of that (320 * 1280 + 2 * 1280).
    assert parameters == 4_652_008 - 1_281_000 - 412_160


def test_its_widths_are_scaled_like_other_backbones():
    half = ModelConfig(backbone="efficientnet-lite0", stem_channels=32)

    assert EfficientNetDown(half).in_channels == 12
    assert EfficientNetDown(half).out_channels == [12, 20, 56, 160]
    assert build_efficientnet_stem(half).conv.conv.out_channels == 16


def test_a_block_whose_convolutions_give_nothing_passes_its_input_on():
    block = InvertedResidual(4, 4, kernel_size=5, stride=1, expansion=6).eval()
    with torch.no_grad():
        block.project.norm.weight.zero_()
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4))

    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("out_channels", "stride"), [(4, 2), (6, 1)])
def test_a_block_that_changes_size_or_channels_has_no_shortcut(out_channels: int, stride: int):
    block = InvertedResidual(4, out_channels, kernel_size=3, stride=stride, expansion=6).eval()
    with torch.no_grad():
        block.project.norm.weight.zero_()

    assert not block(torch.ones(1, 4, 8, 8)).any()


def test_activations_inside_a_block_end_at_six():
    block = InvertedResidual(1, 1, kernel_size=3, stride=2, expansion=2).eval()
    inside: list[Tensor] = []
    block.depthwise.register_forward_hook(lambda _module, _inputs, output: inside.append(output))
    with torch.no_grad():
        block.expand.conv.weight.fill_(1)
        block.depthwise.conv.weight.fill_(1)

    block(torch.full((1, 1, 4, 4), 100.0))

    # Six after the first convolution; the second sums four to nine of these.
    assert torch.equal(inside[0], torch.full((1, 2, 2, 2), 6.0))


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(backbone="efficientnet-lite0", num_stages=2, stem_channels=8, up_channels=6),
        CPNConfig(backbone="efficientnet-lite0", stem_channels=8, up_channels=6),
        SimpleBaselineConfig(backbone="efficientnet-lite0", stem_channels=8, up_channels=6),
    ],
    ids=["MSPN", "CPN", "simple baseline"],
)
def test_every_network_on_a_backbone_takes_it(config: NetworkConfig):
    network = build_network(config).eval()

    heatmaps = network.final_heatmaps(torch.zeros(1, 3, 64, 32))

    assert heatmaps.shape == (1, 17, 16, 8)
