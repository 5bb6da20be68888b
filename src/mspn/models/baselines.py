"""The networks that the paper compares with: simple baseline, cascaded pyramid, stacked hourglasses.

The simple baseline is that of Xiao et al., "Simple Baselines for Human Pose Estimation" (paper Table 5); the
cascaded pyramid that of Chen et al., "Cascaded Pyramid Network" (Table 5).

Stacked hourglasses are those of Newell et al., "Stacked Hourglass Networks" (Tables 1, 3 and 6). One residual a
position, 256 channels everywhere. The stem is MSPN's followed by three residuals, and the innermost scale is 1/64:
of the variants that the literature knows, this one has the paper's costs.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mspn.config.model import CPNConfig, HourglassConfig, SimpleBaselineConfig
from mspn.models.backbones import Bottleneck, build_downsample, build_stem
from mspn.models.base import PoseNetwork, check_crops, initialize
from mspn.models.blocks import ConvNormReLU, HeatmapConv, HeatmapConvNorm, Stem, resize
from mspn.models.mspn import Aggregation, SingleStage, StageFeatures


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


class RefineNet(nn.Module):
    """All levels of the global network at the finest size, side by side; the coarser, the more bottlenecks before."""

    def __init__(self, channels: int, num_levels: int, num_keypoints: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(*(Bottleneck(channels, channels // 2, channels) for _ in range(level)))
            for level in range(num_levels)
        )
        self.merge = Bottleneck(num_levels * channels, channels // 2, channels)
        self.predict = HeatmapConvNorm(channels, num_keypoints, 3)

    def forward(self, up: Sequence[Tensor]) -> Tensor:
        """(B, K, H/4, W/4) of the global network's features, finest first."""
        height, width = up[0].shape[-2:]
        refined = [resize(level(features), height, width) for level, features in zip(self.levels, up, strict=True)]
        heatmaps: Tensor = self.predict(self.merge(torch.cat(refined, dim=1)))
        return heatmaps


class CascadedPyramid(PoseNetwork):
    """GlobalNet, a feature pyramid with four heads (stage 0), and RefineNet, with one (stage 1).

    GlobalNet is the module that MSPN's authors later put in a row, so it is MSPN's here.
    """

    config: CPNConfig

    def __init__(self, config: CPNConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = build_stem(config)
        self.global_net = SingleStage(config, config, coarse_heads=True)
        self.refine_net = RefineNet(config.up_channels, len(self.global_net.up), config.num_keypoints)
        initialize(self)

    def forward(self, crops: Tensor) -> list[list[Tensor]]:
        features = self._global_features(crops)
        return [self.global_net.heatmaps(features), [self.refine_net(features.up)]]

    def final_heatmaps(self, crops: Tensor) -> Tensor:
        heatmaps: Tensor = self.refine_net(self._global_features(crops).up)
        return heatmaps

    def _global_features(self, crops: Tensor) -> StageFeatures:
        check_crops(crops)
        features: StageFeatures = self.global_net(self.stem(crops), [])
        return features


_LEVELS = 4
"""Scales with features of their own, 1/4 to 1/32."""


class Residual(nn.Module):
    """1x1, 3x3, 1x1 convolutions, each behind batch norm and ReLU, around a shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = out_channels // 2
        self.body = nn.Sequential(
            *_norm_relu_conv(in_channels, inner, 1),
            *_norm_relu_conv(inner, inner, 3),
            *_norm_relu_conv(inner, out_channels, 1),
        )
        is_plain = in_channels == out_channels
        self.shortcut = nn.Identity() if is_plain else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.body(x) + self.shortcut(x)
        return merged


def _norm_relu_conv(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return [nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True), conv]


class Hourglass(nn.Module):
    """Down to 1/64 of the crop's size and up again, with a skip at each scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(Residual(channels, channels) for _ in range(_LEVELS))
        self.bottom = Residual(channels, channels)
        self.skip = nn.ModuleList(Residual(channels, channels) for _ in range(_LEVELS))
        self.up = nn.ModuleList(Residual(channels, channels) for _ in range(_LEVELS))

    def forward(self, x: Tensor, skip_features: Sequence[Tensor]) -> StageFeatures:
        """Features of (B, C, H/4, W/4); `skip_features` is added to the way down at each level, or empty."""
        down: list[Tensor] = []
        for level, residual in enumerate(self.down):
            down.append(x + skip_features[level] if skip_features else x)
            # ceil_mode: crops need not be multiples of 64.
            x = residual(functional.max_pool2d(down[level], 2, ceil_mode=True))
        x = self.bottom(x)
        up: list[Tensor] = []
        for features, skip, residual in zip(reversed(down), reversed(self.skip), reversed(self.up), strict=True):
            x = skip(features) + functional.interpolate(residual(x), features.shape[-2:])
            up.insert(0, x)
        return StageFeatures(down, up)


class HourglassHead(nn.Module):
    """Features and heat maps of one level, at that level's own resolution."""

    def __init__(self, channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(Residual(channels, channels), ConvNormReLU(channels, channels, 1))
        self.predict = HeatmapConv(channels, num_keypoints)

    def forward(self, up: Tensor) -> tuple[Tensor, Tensor]:
        features = self.reduce(up)
        return features, self.predict(features)


class HourglassResult(NamedTuple):
    """What a stage hands on."""

    features: StageFeatures
    head_features: Tensor
    """(B, C, H/4, W/4) that the finest heat maps are made of."""
    finest: Tensor
    """(B, K, H/4, W/4) heat maps."""


class HourglassStage(nn.Module):
    """An hourglass and its heads."""

    def __init__(self, config: HourglassConfig) -> None:
        super().__init__()
        self.hourglass = Hourglass(config.channels)
        num_heads = _LEVELS if config.coarse_heads else 1
        self.heads = nn.ModuleList(HourglassHead(config.channels, config.num_keypoints) for _ in range(num_heads))

    def forward(self, x: Tensor, skip_features: Sequence[Tensor]) -> HourglassResult:
        features: StageFeatures = self.hourglass(x, skip_features)
        return HourglassResult(features, *self.heads[0](features.up[0]))

    def heatmaps(self, result: HourglassResult) -> list[Tensor]:
        """(B, K, H/4, W/4) for each level that has a head, finest first; coarser ones are resized to that."""
        height, width = result.finest.shape[-2:]
        coarser = (head(up)[1] for head, up in zip(self.heads[1:], result.features.up[1:], strict=False))
        return [result.finest, *(resize(maps, height, width) for maps in coarser)]


class HourglassLink(Aggregation):
    """Between two stages: the next one's input is the last one's, corrected by its features and heat maps."""

    def __init__(self, config: HourglassConfig) -> None:
        channels = [(config.channels, config.channels)] * _LEVELS
        super().__init__(channels if config.aggregation else [], config.channels)
        self.from_features = nn.Conv2d(config.channels, config.channels, 1)
        self.from_heatmaps = nn.Conv2d(config.num_keypoints, config.channels, 1)

    def forward(self, x: Tensor, result: HourglassResult) -> tuple[Tensor, list[Tensor]]:
        """The next stage's (B, C, H/4, W/4), and what it adds at each level."""
        next_input = x + self.from_features(result.head_features) + self.from_heatmaps(result.finest)
        return next_input, self.aggregate(result.features)


class StackedHourglass(PoseNetwork):
    """Stacked hourglasses, with MSPN's cross-stage aggregation if `config.aggregation` is set."""

    config: HourglassConfig

    def __init__(self, config: HourglassConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(
            Stem(config.stem_channels),
            Residual(config.stem_channels, config.channels),
            Residual(config.channels, config.channels),
            Residual(config.channels, config.channels),
        )
        stages = nn.ModuleList(HourglassStage(config) for _ in range(config.num_stages))
        self.stages = cast("Sequence[HourglassStage]", stages)
        self.links = nn.ModuleList(HourglassLink(config) for _ in range(config.num_stages - 1))
        initialize(self)

    def forward(self, crops: Tensor) -> list[list[Tensor]]:
        return [stage.heatmaps(result) for stage, result in zip(self.stages, self._results(crops), strict=True)]

    def final_heatmaps(self, crops: Tensor) -> Tensor:
        return self._results(crops)[-1].finest

    def _results(self, crops: Tensor) -> list[HourglassResult]:
        check_crops(crops)
        x = self.stem(crops)  # (B, C, H/4, W/4)
        results: list[HourglassResult] = [self.stages[0](x, [])]
        for link, stage in zip(self.links, self.stages[1:], strict=True):
            x, skip_features = link(x, results[-1])
            results.append(stage(x, skip_features))
        return results
