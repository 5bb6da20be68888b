"""Down-sampling units: a large and a small Xception (paper Table 4).

The paper says no more than "a large one (L-XCP) and a small one (S-XCP)", with costs of 6.1 billion for one stage and
5.7 for four. Ours follow Xception (Chollet, Fig. 5) behind our stem: the entry flow's blocks are the levels at 1/4, 1/8
and 1/16, the middle flow follows at 1/16, the exit flow is the level at 1/32. The large one has Xception's widths, but
736 in place of 728, and 13 middle blocks in place of 8; the small one is narrower and shallower. Both meet the paper's
costs, counted in its way: 6.13 and 5.68.
"""

from typing import NamedTuple

from torch import Tensor, nn

from mspn.config.model import Backbone, BackboneConfig
from mspn.models.blocks import ConvNorm, Downsample, scale_width


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
