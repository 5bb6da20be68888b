"""Cascaded pyramid network (paper Table 5; Chen et al., "Cascaded Pyramid Network")."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mspn.config.model import CPNConfig
from mspn.models.backbones import build_stem
from mspn.models.backbones.resnet import Bottleneck
from mspn.models.base import PoseNetwork, check_crops, initialize
from mspn.models.blocks import HeatmapConvNorm, resize
from mspn.models.mspn import SingleStage, StageFeatures


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
