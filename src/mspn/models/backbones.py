"""Stems and down-sampling units by the backbone's name: ResNet, RSN and Xception.

ResNet (paper Sec. 3.1): the four layers of one.

RSN, the four layers of a Residual Steps Network (Cai et al. 2020, arXiv 2003.04030): the same authors' next network,
MSPN's stages of another block. It is deep within a layer, so that features of many sizes of receptive field meet at
each level.

Xception, a large and a small one (paper Table 4): the paper says no more than "a large one (L-XCP) and a small one
(S-XCP)", with costs of 6.1 billion for one stage and 5.7 for four. Ours follow Xception (Chollet, Fig. 5) behind our
stem: the entry flow's blocks are the levels at 1/4, 1/8 and 1/16, the middle flow follows at 1/16, the exit flow is
the level at 1/32. The large one has Xception's widths, but 736 in place of 728, and 13 middle blocks in place of 8;
the small one is narrower and shallower. Both meet the paper's costs, counted in its way: 6.13 and 5.68.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from mspn.config.model import Backbone, BackboneConfig
from mspn.models.blocks import ConvNorm, ConvNormReLU, Downsample, Stem, scale_width
from mspn.models.efficientnet import EFFICIENTNETS, EfficientNetDown, build_efficientnet_stem


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; ResNet-18 and ResNet-34."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNormReLU(in_channels, out_channels, 3, stride)
        self.conv2 = ConvNorm(out_channels, out_channels, 3)
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2.add_and_relu(self.conv1(x), self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut; ResNet-50 and deeper.

    The stride is on the 3x3 convolution in the released code; the paper's costs fit the first 1x1.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        out_channels: int,
        stride: int = 1,
        strided: Literal["3x3", "1x1"] = "3x3",
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormReLU(in_channels, inner_channels, 1, stride if strided == "1x1" else 1)
        self.conv2 = ConvNormReLU(inner_channels, inner_channels, 3, stride if strided == "3x3" else 1)
        self.conv3 = ConvNorm(inner_channels, out_channels, 1)
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3.add_and_relu(self.conv2(self.conv1(x)), self.shortcut(x))


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """What a block adds to its output: its input, through a 1x1 convolution where channels or size change."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, 1, stride)


RESNETS: dict[Backbone, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet26": (Bottleneck, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
    "resnet254": (Bottleneck, (3, 8, 70, 3)),
}
"""Block and blocks per layer.

The paper's Res-254 is Res-152 with "more residual blocks": 84, by its name. It does not say where; ours are in the
third layer, where the step from 50 to 101 put them too. Wherever they are, they cost the same.
"""


class ResNetDown(Downsample):
    """The layers of a ResNet; `stem_channels` is the width of the first one's inner convolutions."""

    def __init__(self, config: BackboneConfig) -> None:
        in_channels = config.stem_channels
        super().__init__(in_channels)
        block, depths = RESNETS[config.backbone]
        for level, depth in enumerate(depths):
            channels = config.stem_channels * 2**level
            blocks = nn.Sequential()
            for index in range(depth):
                stride = 2 if level > 0 and index == 0 else 1
                if block is Bottleneck:
                    out_channels = config.bottleneck_expansion * channels
                    blocks.append(Bottleneck(in_channels, channels, out_channels, stride, config.bottleneck_stride))
                    in_channels = out_channels
                else:
                    blocks.append(BasicBlock(in_channels, channels, stride))
                    in_channels = channels
            self.layers.append(blocks)
            self.out_channels.append(in_channels)


def find_resnet(block: type[BasicBlock] | type[Bottleneck], depths: Sequence[int]) -> Backbone | None:
    """Name of the ResNet with these blocks per layer, if there is one."""
    return next((name for name, shape in RESNETS.items() if shape == (block, tuple(depths))), None)


BRANCHES = 4
_WIDTH = 26
"""Channels of a branch for each 64."""

RSNS: dict[Backbone, tuple[int, ...]] = {"rsn18": (2, 2, 2, 2), "rsn50": (3, 4, 6, 3), "rsn101": (3, 4, 23, 3)}
"""Blocks per layer."""


class BlockChannels(NamedTuple):
    """Channels of a block's input, of each of its branches and of its output."""

    in_channels: int
    branch_channels: int
    out_channels: int


def plan_blocks(config: BackboneConfig) -> list[list[BlockChannels]]:
    """The blocks of each of an RSN's layers."""
    layers: list[list[BlockChannels]] = []
    in_channels = config.stem_channels
    for level, depth in enumerate(RSNS[config.backbone]):
        channels = config.stem_channels * 2**level
        out_channels = config.rsn_expansion * channels
        blocks: list[BlockChannels] = []
        for _ in range(depth):
            branch_channels = max(1, (in_channels if config.rsn_width == "input" else channels) * _WIDTH // 64)
            blocks.append(BlockChannels(in_channels, branch_channels, out_channels))
            in_channels = out_channels
        layers.append(blocks)
    return layers


class ResidualStepsBlock(nn.Module):
    """1x1 convolution, four branches of one to four 3x3 convolutions (steps), 1x1 convolution, around a shortcut.

    A step sees the step before it in its branch plus the step of its own number in the branch before.

    Args:
        in_channels: of the block's input.
        branch_channels: of each branch.
        out_channels: of the block's output.
        stride: of the first convolution.
    """

    def __init__(self, in_channels: int, branch_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = ConvNormReLU(in_channels, BRANCHES * branch_channels, 1, stride)
        self.branches = nn.ModuleList(
            nn.ModuleList(ConvNormReLU(branch_channels, branch_channels, 3) for _ in range(number_of_steps))
            for number_of_steps in range(1, BRANCHES + 1)
        )
        self.conv3 = ConvNorm(BRANCHES * branch_channels, out_channels, 1)
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        ends: list[Tensor] = []
        neighbors: list[Tensor] = []  # the steps of the branch before
        for part, branch in zip(self.conv1(x).chunk(BRANCHES, dim=1), self.branches, strict=True):
            steps: list[Tensor] = []
            for number, step in enumerate(cast("Iterable[nn.Module]", branch)):
                before = steps[-1] if steps else part
                steps.append(step(before + neighbors[number] if number < len(neighbors) else before))
            ends.append(steps[-1])
            neighbors = steps
        return self.conv3.add_and_relu(torch.cat(ends, dim=1), self.shortcut(x))


class RSNDown(Downsample):
    """The layers of an RSN; each level has twice the channels of the one before, and half its size."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config.stem_channels)
        for level, plan in enumerate(plan_blocks(config)):
            blocks = nn.Sequential()
            for index, channels in enumerate(plan):
                blocks.append(ResidualStepsBlock(*channels, stride=2 if level > 0 and index == 0 else 1))
            self.layers.append(blocks)
            self.out_channels.append(plan[-1].out_channels)


def find_rsn(depths: Sequence[int]) -> Backbone | None:
    """Name of the RSN with as many blocks per layer, if there is one."""
    return next((name for name, known in RSNS.items() if known == tuple(depths)), None)


class XceptionShape(NamedTuple):
    """Channels with a stem of 64, and depth."""

    entry: tuple[int, int, int]
    """Channels of the entry flow's blocks; the last are the middle flow's, too."""
    middle_blocks: int
    exit: tuple[int, int, int]
    """Channels of the exit flow: its block, then two separable convolutions."""


XCEPTIONS: dict[Backbone, XceptionShape] = {
    "xception-large": XceptionShape(entry=(128, 256, 736), middle_blocks=13, exit=(1024, 1536, 2048)),
    "xception-small": XceptionShape(entry=(64, 128, 384), middle_blocks=5, exit=(512, 768, 1024)),
}


class SeparableConvNorm(nn.Sequential):
    """3x3 convolution of each channel alone, 1x1 convolution across channels, batch norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = ConvNorm(in_channels, out_channels, 1)


class XceptionBlock(nn.Module):
    """Separable convolutions, each behind a ReLU, around a shortcut; max-pool halves the size."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], stride: int = 1) -> None:
        super().__init__()
        out_channels = widths[-1]
        self.body = nn.Sequential()
        for before, after in zip((in_channels, *widths), widths, strict=False):
            # Not in place: the shortcut needs the input as it was.
            self.body.append(nn.Sequential(nn.ReLU(), SeparableConvNorm(before, after)))
        is_plain = stride == 1 and in_channels == out_channels
        self.pool = nn.MaxPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        self.shortcut = nn.Identity() if is_plain else ConvNorm(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.pool(self.body(x)) + self.shortcut(x)
        return merged


class XceptionDown(Downsample):
    """Entry, middle and exit flow. Each level ends in a ReLU, as a ResNet's does: what is injected is added to that."""

    def __init__(self, config: BackboneConfig) -> None:
        stem = config.stem_channels
        super().__init__(in_channels=stem)
        shape = XCEPTIONS[config.backbone]
        fine, half, quarter = (scale_width(width, config) for width in shape.entry)
        pooled, wide, widest = (scale_width(width, config) for width in shape.exit)
        middle = (XceptionBlock(quarter, (quarter, quarter, quarter)) for _ in range(shape.middle_blocks))
        self.layers.extend(
            [
                nn.Sequential(XceptionBlock(stem, (fine, fine)), nn.ReLU()),
                nn.Sequential(XceptionBlock(fine, (half, half), stride=2), nn.ReLU()),
                nn.Sequential(XceptionBlock(half, (quarter, quarter), stride=2), *middle, nn.ReLU()),
                nn.Sequential(
                    XceptionBlock(quarter, (quarter, pooled), stride=2),
                    SeparableConvNorm(pooled, wide),
                    nn.ReLU(inplace=True),
                    SeparableConvNorm(wide, widest),
                    nn.ReLU(inplace=True),
                ),
            ]
        )
        self.out_channels += [fine, half, quarter, widest]


class BackboneFamily(NamedTuple):
    """What builds the parts of a backbone from the settings."""

    down_unit: Callable[[BackboneConfig], Downsample]
    stem: Callable[[BackboneConfig], nn.Module]
    """Crops to the down-sampling unit's input at 1/4."""


def _common_stem(config: BackboneConfig) -> Stem:
    return Stem(config.stem_channels)


BACKBONES: dict[Backbone, BackboneFamily] = {
    **dict.fromkeys(RESNETS, BackboneFamily(ResNetDown, _common_stem)),
    **dict.fromkeys(XCEPTIONS, BackboneFamily(XceptionDown, _common_stem)),
    **dict.fromkeys(RSNS, BackboneFamily(RSNDown, _common_stem)),
    **dict.fromkeys(EFFICIENTNETS, BackboneFamily(EfficientNetDown, build_efficientnet_stem)),
}
"""The parts of each `backbone` of the settings."""


def build_stem(config: BackboneConfig) -> nn.Module:
    """The backbone's stem: crops to the down-sampling unit's input, at 1/4 of their size."""
    return BACKBONES[config.backbone].stem(config)


def build_downsample(config: BackboneConfig) -> Downsample:
    """The backbone's down-sampling unit."""
    return BACKBONES[config.backbone].down_unit(config)
