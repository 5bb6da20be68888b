"""Layers that networks are built from."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from mspn.config.model import BackboneConfig


class ConvNorm(nn.Sequential):
    """Convolution (no bias) and batch norm; `ConvNormReLU` adds a ReLU.

    Source: the released code. Its convolutions have a bias, too, which batch norm cancels; conversion folds it.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        padding = (kernel_size - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def add_and_relu(self, x: Tensor, other: Tensor) -> Tensor:
        """ReLU of the output plus `other`. A prepacked layer overwrites `other`: do not use it afterwards."""
        merged: Tensor = self(x)
        # In place: a batch norm's output is not needed for its gradient.
        merged += other
        return functional.relu(merged, inplace=True)


class ConvNormReLU(ConvNorm):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, groups)
        self.relu = nn.ReLU(inplace=True)


class HeatmapConvNorm(ConvNorm):
    """Last layer of a head. Its heat maps start flat, see `mspn.models.base.initialize`."""


class HeatmapConv(nn.Conv2d):
    """Last layer of a head without batch norm: a 1x1 convolution with bias. Its heat maps start flat, too."""

    def __init__(self, in_channels: int, num_keypoints: int) -> None:
        super().__init__(in_channels, num_keypoints, 1)


class Stem(nn.Sequential):
    """7x7 convolution and max-pool: crops to (B, C, H/4, W/4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNormReLU(3, channels, 7, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)


def resize(features: Tensor, height: int, width: int) -> Tensor:
    """Bilinear resize of (B, C, h, w) to (B, C, height, width)."""
    # align_corners=True is what the released weights were trained with.
    return functional.interpolate(features, (height, width), mode="bilinear", align_corners=True)


class Downsample(nn.Module):
    """Four layers at 1/4, 1/8, 1/16 and 1/32 of the crop's size. A backbone fills `layers` and `out_channels`.

    Args:
        in_channels: channels of the input at 1/4, from the stem or the previous stage.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.layers = nn.ModuleList()
        self.out_channels: list[int] = []

    def forward(self, x: Tensor, skip_features: Sequence[Tensor]) -> list[Tensor]:
        """Features of each level, finest first.

        Args:
            x: (B, in_channels, H/4, W/4), from the stem or the previous stage.
            skip_features: for each level a tensor that is added to the layer's output before the next layer; or empty.
        """
        features = []
        for level, layer in enumerate(self.layers):
            x = layer(x)
            if skip_features:
                x = x + skip_features[level]
            features.append(x)
        return features


def scale_width(channels: int, config: BackboneConfig) -> int:
    """Scale channels from a stem of 64 channels to the stem of the settings; at least 1."""
    return max(1, channels * config.stem_channels // 64)
