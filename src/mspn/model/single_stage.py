"""One stage: down-sampling, up-sampling, a prediction head at each level (paper Sec. 3.1)."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from mspn.model.backbones import build_down_unit
from mspn.model.blocks import ConvNorm, ConvNormReLU, HeatmapConvNorm, resize
from mspn.model_config import CPNConfig, ModelConfig


class StageFeatures(NamedTuple):
    """What a stage computed, each a list over levels, finest first."""

    down: list[Tensor]
    up: list[Tensor]


class UpUnit(nn.Module):
    """Merge one level's down-sampling features with the coarser level's up-sampled ones."""

    def __init__(self, in_channels: int, channels: int, *, is_coarsest: bool) -> None:
        super().__init__()
        self.lateral = ConvNorm(in_channels, channels, 1)
        self.from_coarser = None if is_coarsest else ConvNorm(channels, channels, 1)

    def forward(self, down: Tensor, coarser: Tensor | None) -> Tensor:
        if self.from_coarser is None or coarser is None:
            return functional.relu(self.lateral(down), inplace=True)
        # The published networks resize first. A 1x1 convolution gives the same on either side, here on a quarter of the
        # cells; the norm's statistics are of the finer ones, so it stays behind.
        resized = self.from_coarser.norm(resize(self.from_coarser.conv(coarser), *down.shape[-2:]))
        return self.lateral.add_and_relu(down, resized)


class Head(nn.Sequential):
    """Heat maps of one level, at that level's own resolution."""

    def __init__(self, channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.reduce = ConvNormReLU(channels, channels, 1)
        self.predict = HeatmapConvNorm(channels, num_keypoints, 3)


class SingleStage(nn.Module):
    """A single-stage module: U-shaped, with more capacity on the way down (paper Fig. 2)."""

    def __init__(self, config: ModelConfig | CPNConfig, *, coarse_heads: bool) -> None:
        super().__init__()
        self.down = build_down_unit(config)
        coarsest = len(self.down.out_channels) - 1
        self.up = nn.ModuleList(
            UpUnit(channels, config.up_channels, is_coarsest=level == coarsest)
            for level, channels in enumerate(self.down.out_channels)
        )
        num_heads = len(self.up) if coarse_heads else 1
        self.heads = nn.ModuleList(Head(config.up_channels, config.num_keypoints) for _ in range(num_heads))

    def forward(self, x: Tensor, injected: Sequence[Tensor]) -> StageFeatures:
        """Features of (B, in_channels, H/4, W/4); `injected` as in `DownUnit`."""
        down = self.down(x, injected)
        up: list[Tensor] = []
        coarser = None
        for unit, features in zip(reversed(self.up), reversed(down), strict=True):
            coarser = unit(features, coarser)
            up.insert(0, coarser)
        return StageFeatures(down, up)

    def heatmaps(self, features: StageFeatures) -> list[Tensor]:
        """(B, K, H/4, W/4) for each level that has a head, finest first; coarser ones are resized to that."""
        height, width = features.up[0].shape[-2:]
        finest, *coarser = (head(up) for head, up in zip(self.heads, features.up, strict=False))
        return [finest, *(resize(maps, height, width) for maps in coarser)]

    def finest_heatmaps(self, features: StageFeatures) -> Tensor:
        """(B, K, H/4, W/4) of the finest level; no other head runs."""
        maps: Tensor = self.heads[0](features.up[0])
        return maps
