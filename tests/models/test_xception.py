import pytest
import torch

from mspn.config.model import ModelConfig
from mspn.models.backbones import XceptionBlock, XceptionDown


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [("xception-large", [128, 256, 736, 2048]), ("xception-small", [64, 128, 384, 1024])],
)
def test_each_level_halves_the_size(backbone: str, channels: list[int]):
    with torch.device("meta"):
        down = XceptionDown(ModelConfig(backbone=backbone))
        features = down(torch.zeros(1, 64, 32, 24), [])

    assert down.out_channels == channels
    sizes = [(32, 24), (16, 12), (8, 6), (4, 3)]
    assert [tuple(maps.shape) for maps in features] == [(1, c, *size) for c, size in zip(channels, sizes, strict=True)]


def test_widths_grow_with_the_stem():
    assert XceptionDown(ModelConfig(backbone="xception-small", stem_channels=16)).out_channels == [16, 32, 96, 256]


def test_injected_features_are_added_to_each_level_before_the_next():
    generator = torch.Generator().manual_seed(3)
    down = XceptionDown(ModelConfig(backbone="xception-small", stem_channels=4)).eval()
    x = torch.randn(1, 4, 32, 32, generator=generator)
    sizes = zip(down.out_channels, (32, 16, 8, 4), strict=True)
    skip_features = [torch.randn(1, c, s, s, generator=generator) for c, s in sizes]

    features = down(x, skip_features)

    first = down.layers[0](x) + skip_features[0]
    torch.testing.assert_close(features[0], first)
    torch.testing.assert_close(features[1], down.layers[1](first) + skip_features[1])


def test_a_middle_block_whose_convolutions_give_nothing_passes_its_input_on():
    block = XceptionBlock(4, (4, 4, 4)).eval()
    with torch.no_grad():
        block.body[-1][1].pointwise.norm.weight.zero_()
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4))

    assert torch.equal(block(x), x)


def test_the_middle_flow_has_13_blocks_in_the_large_one_and_5_in_the_small_one():
    with torch.device("meta"):
        large, small = (XceptionDown(ModelConfig(backbone=f"xception-{size}")) for size in ("large", "small"))

    # The entry flow's block before, a ReLU after.
    assert [len(large.layers[2]), len(small.layers[2])] == [13 + 2, 5 + 2]
