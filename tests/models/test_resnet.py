from typing import Any

import pytest
import torch

from mspn.config.model import ModelConfig
from mspn.models.backbones import RESNETS, BasicBlock, Bottleneck, ResNetDown, find_resnet


def down_unit(backbone: str, stem_channels: int = 8, **settings: Any) -> ResNetDown:
    return ResNetDown(ModelConfig(backbone=backbone, stem_channels=stem_channels, **settings))


@pytest.mark.parametrize(
    ("backbone", "channels"), [("resnet50", [32, 64, 128, 256]), ("resnet18", [8, 16, 32, 64])], ids=["50", "18"]
)
def test_each_layer_halves_the_size_and_doubles_the_channels(backbone: str, channels: list[int]):
    down = down_unit(backbone)

    features = down(torch.zeros(1, 8, 32, 24), [])

    assert down.out_channels == channels
    sizes = [(32, 24), (16, 12), (8, 6), (4, 3)]
    assert [tuple(maps.shape) for maps in features] == [(1, c, *size) for c, size in zip(channels, sizes, strict=True)]


def test_resnet_50_has_the_papers_channels_and_blocks():
    down = down_unit("resnet50", stem_channels=64)

    assert down.out_channels == [256, 512, 1024, 2048]
    assert [len(layer) for layer in down.layers] == [3, 4, 6, 3]


def test_resnet_18_has_two_blocks_a_layer():
    assert [len(layer) for layer in down_unit("resnet18").layers] == [2, 2, 2, 2]


def test_the_stride_is_on_the_3x3_convolution():
    block = down_unit("resnet50").layers[1][0]

    assert block.conv1.conv.stride == (1, 1)
    assert block.conv2.conv.stride == (2, 2)
    assert block.conv2.conv.kernel_size == (3, 3)


def test_the_stride_is_on_the_first_convolution_where_the_papers_costs_are_counted():
    block = down_unit("resnet50", bottleneck_stride="1x1").layers[1][0]

    assert block.conv1.conv.stride == (2, 2)
    assert block.conv2.conv.stride == (1, 1)
    assert block(torch.zeros(1, 32, 8, 6)).shape == (1, 64, 4, 3)


@pytest.mark.parametrize(
    ("backbone", "depth"), [("resnet18", 18), ("resnet34", 34), ("resnet50", 50), ("resnet101", 101)]
)
def test_resnets_have_as_many_layers_as_their_names_say(backbone: str, depth: int):
    assert _depth(backbone) == depth


def test_the_deepest_resnet_adds_blocks_to_the_third_layer_of_the_second_deepest():
    assert _depth("resnet152") == 152
    assert _depth("resnet254") == 254
    assert sum(RESNETS["resnet254"][1]) == 84
    assert RESNETS["resnet152"][1] == (3, 8, 36, 3)
    assert RESNETS["resnet254"][1] == (3, 8, 70, 3)


def _depth(backbone: str) -> int:
    """Convolutions one after another, and the stem and the classifier that the name counts."""
    block, depths = RESNETS[backbone]
    return sum(depths) * (3 if block is Bottleneck else 2) + 2


def test_a_resnet_is_found_by_its_blocks():
    assert find_resnet(Bottleneck, [3, 4, 23, 3]) == "resnet101"
    assert find_resnet(BasicBlock, [3, 4, 6, 3]) == "resnet34"
    assert find_resnet(BasicBlock, [3, 4, 23, 3]) is None


def test_injected_features_are_added_after_the_relu_and_before_the_next_layer():
    generator = torch.Generator().manual_seed(3)
    down = down_unit("resnet18", stem_channels=4).eval()
    x = torch.randn(1, 4, 32, 32, generator=generator)
    skip_features = [torch.randn(1, c, s, s, generator=generator) for c, s in ((4, 32), (8, 16), (16, 8), (32, 4))]

    features = down(x, skip_features)

    first = down.layers[0](x) + skip_features[0]
    torch.testing.assert_close(features[0], first)
    torch.testing.assert_close(features[1], down.layers[1](first) + skip_features[1])
    assert features[3].min() < 0
