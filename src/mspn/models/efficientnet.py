"""Down-sampling units: EfficientNet-Lite (Tan and Le, "EfficientNet"; Google's Lite variants of it).

The Lite variants have no squeeze-and-excitation, and ReLU6 in place of swish. The network's own stem, a 3x3 convolution
and the blocks down to 1/4, takes the place of MSPN's, so that ImageNet weights fit; the down-sampling unit has the
blocks from 1/4 on, in every stage. Convolutions are padded on both sides, as everywhere here. TensorFlow, which the
published weights come from, pads those of stride 2 more on the right and below. That is the same network on an image
that is moved by less than a cell, and differs at the borders.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from mspn.config.model import Backbone, BackboneConfig
from mspn.models.blocks import Downsample, scale_width

_NORM_EPSILON = 1e-3
"""TensorFlow's; some of the published variances are smaller."""


class BlockGroup(NamedTuple):
    """Blocks of the same shape in a row; channels where stem_channels is 64."""

    expansion: int
    kernel_size: int
    out_channels: int
    depth: int
    stride: int
    """Of the first block; the others have 1."""


class EfficientNetShape(NamedTuple):
    """Groups of blocks by the size that they end at."""

    stem_channels: int
    """Of the first convolution."""
    stem: tuple[BlockGroup, ...]
    """Down to 1/4 of the crop's size."""
    levels: tuple[tuple[BlockGroup, ...], ...]
    """At 1/4, 1/8, 1/16 and 1/32."""


# Of its two blocks of 24 channels, the first halves the size and is the stem's last.
_LITE0 = EfficientNetShape(
    stem_channels=32,
    stem=(BlockGroup(1, 3, 16, depth=1, stride=1), BlockGroup(6, 3, 24, depth=1, stride=2)),
    levels=(
        (BlockGroup(6, 3, 24, depth=1, stride=1),),
        (BlockGroup(6, 5, 40, depth=2, stride=2),),
        (BlockGroup(6, 3, 80, depth=3, stride=2), BlockGroup(6, 5, 112, depth=3, stride=1)),
        (BlockGroup(6, 5, 192, depth=4, stride=2), BlockGroup(6, 3, 320, depth=1, stride=1)),
    ),
)

EFFICIENTNETS: dict[Backbone, EfficientNetShape] = {"efficientnet-lite0": _LITE0}


class GroupedConvNorm(nn.Sequential):
    """Convolution (no bias) in groups of channels, and batch norm; `GroupedConvNormReLU6` adds a ReLU6."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        padding = (kernel_size - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=_NORM_EPSILON)


class GroupedConvNormReLU6(GroupedConvNorm):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, groups)
        self.relu = nn.ReLU6(inplace=True)


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, one of each channel alone, 1x1 to fewer; a shortcut where one fits."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.expand = GroupedConvNormReLU6(in_channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = GroupedConvNormReLU6(inner, inner, kernel_size, stride, groups=inner)
        self.project = GroupedConvNorm(inner, out_channels, 1)
        self._has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.project(self.depthwise(self.expand(x)))
        return projected + x if self._has_shortcut else projected


def build_efficientnet_stem(config: BackboneConfig) -> nn.Sequential:
    """First convolution and blocks: crops to (B, C, H/4, W/4)."""
    shape = EFFICIENTNETS[config.backbone]
    channels = scale_width(shape.stem_channels, config)
    return nn.Sequential(
        OrderedDict(
            conv=GroupedConvNormReLU6(3, channels, 3, stride=2),
            blocks=nn.Sequential(*_blocks(channels, shape.stem, config)),
        )
    )


class EfficientNetDown(Downsample):
    """The blocks behind the stem. Each level ends in a convolution without ReLU: what is injected is added to that."""

    def __init__(self, config: BackboneConfig) -> None:
        shape = EFFICIENTNETS[config.backbone]
        super().__init__(in_channels=scale_width(shape.stem[-1].out_channels, config))
        channels = self.in_channels
        for groups in shape.levels:
            self.layers.append(nn.Sequential(*_blocks(channels, groups, config)))
            channels = scale_width(groups[-1].out_channels, config)
            self.out_channels.append(channels)


def _blocks(in_channels: int, groups: tuple[BlockGroup, ...], config: BackboneConfig) -> Iterator[InvertedResidual]:
    for group in groups:
        out_channels = scale_width(group.out_channels, config)
        for index in range(group.depth):
            stride = group.stride if index == 0 else 1
            yield InvertedResidual(in_channels, out_channels, group.kernel_size, stride, group.expansion)
            in_channels = out_channels
