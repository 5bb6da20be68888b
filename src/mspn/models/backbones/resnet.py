"""Down-sampling units: the four layers of a ResNet (paper Sec. 3.1)."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from mspn.config.model import Backbone, BackboneConfig
from mspn.models.blocks import ConvNorm, ConvNormReLU, Downsample


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
