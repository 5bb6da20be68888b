"""Down-sampling units: the four layers of a Residual Steps Network (Cai et al. 2020, arXiv 2003.04030).

The same authors' next network: MSPN's stages of another block. It is deep within a layer, so that features of many
sizes of receptive field meet at each level.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mspn.config.model import Backbone, BackboneConfig
from mspn.models.backbones.resnet import shortcut
from mspn.models.blocks import ConvNorm, ConvNormReLU, Downsample

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
