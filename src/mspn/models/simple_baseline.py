"""Simple baseline (paper Table 5; Xiao et al., "Simple Baselines for Human Pose Estimation")."""

from itertools import pairwise

from torch import Tensor, nn

from mspn.config.model import SimpleBaselineConfig
from mspn.models.backbones import build_downsample, build_stem
from mspn.models.base import PoseNetwork, check_crops, initialize
from mspn.models.blocks import HeatmapConv


class DeconvNormReLU(nn.Sequential):
    """4x4 transposed convolution that doubles the size, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)


class SimpleBaseline(PoseNetwork):
    """A backbone, three deconvolutions, a 1x1 convolution: one stage with one level."""

    config: SimpleBaselineConfig

    def __init__(self, config: SimpleBaselineConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = build_stem(config)
        self.down = build_downsample(config)
        widths = [self.down.out_channels[-1], *[config.up_channels] * 3]
        self.up = nn.Sequential(*(DeconvNormReLU(*pair) for pair in pairwise(widths)))
        self.head = HeatmapConv(config.up_channels, config.num_keypoints)
        initialize(self)

    def forward(self, crops: Tensor) -> list[list[Tensor]]:
        return [[self.final_heatmaps(crops)]]

    def final_heatmaps(self, crops: Tensor) -> Tensor:
        check_crops(crops)
        coarsest = self.down(self.stem(crops), [])[-1]  # (B, C, H/32, W/32)
        heatmaps: Tensor = self.head(self.up(coarsest))
        return heatmaps
