import pytest
import torch

from mspn.model.resnet import ResNetDown


@pytest.mark.parametrize(
    ("backbone", "channels"), [("resnet50", [32, 64, 128, 256]), ("resnet18", [8, 16, 32, 64])], ids=["50", "18"]
)
def test_each_layer_halves_the_size_and_doubles_the_channels(backbone: str, channels: list[int]):
    down = ResNetDown(backbone, stem_channels=8)

    features = down(torch.zeros(1, 8, 32, 24), [])

    assert down.out_channels == channels
    sizes = [(32, 24), (16, 12), (8, 6), (4, 3)]
    assert [tuple(maps.shape) for maps in features] == [(1, c, *size) for c, size in zip(channels, sizes, strict=True)]


def test_resnet_50_has_the_papers_channels_and_blocks():
    down = ResNetDown("resnet50", stem_channels=64)

    assert down.out_channels == [256, 512, 1024, 2048]
    assert [len(layer) for layer in down.layers] == [3, 4, 6, 3]


def test_resnet_18_has_two_blocks_a_layer():
    assert [len(layer) for layer in ResNetDown("resnet18", stem_channels=8).layers] == [2, 2, 2, 2]


def test_the_stride_is_on_the_3x3_convolution():
    block = ResNetDown("resnet50", stem_channels=8).layers[1][0]

    assert block.conv1.conv.stride == (1, 1)
    assert block.conv2.conv.stride == (2, 2)
    assert block.conv2.conv.kernel_size == (3, 3)


def test_injected_features_are_added_after_the_relu_and_before_the_next_layer():
    generator = torch.Generator().manual_seed(3)
    down = ResNetDown("resnet18", stem_channels=4).eval()
    x = torch.randn(1, 4, 32, 32, generator=generator)
    injected = [torch.randn(1, c, s, s, generator=generator) for c, s in ((4, 32), (8, 16), (16, 8), (32, 4))]

    features = down(x, injected)

    first = down.layers[0](x) + injected[0]
    torch.testing.assert_close(features[0], first)
    torch.testing.assert_close(features[1], down.layers[1](first) + injected[1])
    assert features[3].min() < 0
