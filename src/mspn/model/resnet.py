"""Down-sampling units: the four layers of a ResNet (paper Sec. 3.1)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from mspn.model.blocks import ConvNorm, ConvNormReLU


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; ResNet-18 and ResNet-34."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNormReLU(in_channels, channels, 3, stride)
        self.conv2 = ConvNorm(channels, channels, 3)
        self.shortcut = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv2(self.conv1(x)) + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut; ResNet-50 and deeper.

    The stride is on the 3x3 convolution, as in the released code; the paper's costs fit the first 1x1.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = ConvNormReLU(in_channels, channels, 1)
        self.conv2 = ConvNormReLU(channels, channels, 3, stride)
        self.conv3 = ConvNorm(channels, out_channels, 1)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x), inplace=True)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, 1, stride)


BACKBONES: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
"""Block and blocks per layer."""


class ResNetDown(nn.Module):
    """Four layers at 1/4, 1/8, 1/16 and 1/32 of the crop's size."""

    def __init__(self, backbone: str, stem_channels: int) -> None:
        super().__init__()
        block, depths = BACKBONES[backbone]
        self.layers = nn.ModuleList()
        self.out_channels: list[int] = []
        in_channels = stem_channels
        for level, depth in enumerate(depths):
            channels = stem_channels * 2**level
            blocks = nn.Sequential()
            for index in range(depth):
                blocks.append(block(in_channels, channels, stride=2 if level > 0 and index == 0 else 1))
                in_channels = channels * block.expansion
            self.layers.append(blocks)
            self.out_channels.append(in_channels)

    def forward(self, x: Tensor, injected: Sequence[Tensor]) -> list[Tensor]:
        """Features of (B, stem_channels, H/4, W/4), finest first.

        Args:
            x: from the stem or the previous stage.
            injected: a tensor for each level, added to the layer's output before the next layer sees it; or none.
        """
        features = []
        for level, layer in enumerate(self.layers):
            x = layer(x)
            if injected:
                x = x + injected[level]
            features.append(x)
        return features
