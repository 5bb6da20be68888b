"""The multi-stage pose network (paper Figures 2 and 3): single-stage modules, cross-stage aggregation, stages."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional

from mspn.config.model import CPNConfig, ModelConfig
from mspn.models.backbones import build_downsample, build_stem
from mspn.models.base import PoseNetwork, check_crops, initialize
from mspn.models.blocks import ConvNorm, ConvNormReLU, Downsample, HeatmapConvNorm, resize


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
        self.down = build_downsample(config)
        coarsest = len(self.down.out_channels) - 1
        self.up = nn.ModuleList(
            UpUnit(channels, config.up_channels, is_coarsest=level == coarsest)
            for level, channels in enumerate(self.down.out_channels)
        )
        num_heads = len(self.up) if coarse_heads else 1
        self.heads = nn.ModuleList(Head(config.up_channels, config.num_keypoints) for _ in range(num_heads))

    def forward(self, x: Tensor, skip_features: Sequence[Tensor]) -> StageFeatures:
        """Features of (B, in_channels, H/4, W/4); `skip_features` as in `Downsample`."""
        down = self.down(x, skip_features)
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


class Aggregation(nn.Module):
    """Features of the previous stage for each level of the next; both paths end in a ReLU, as in the released code.

    Args:
        down_channels: at each level to aggregate; empty for none.
        up_channels: at every level.
    """

    def __init__(self, down_channels: Sequence[int], up_channels: int) -> None:
        super().__init__()
        self.from_down = nn.ModuleList(ConvNormReLU(channels, channels, 1) for channels in down_channels)
        self.from_up = nn.ModuleList(ConvNormReLU(up_channels, channels, 1) for channels in down_channels)

    def aggregate(self, features: StageFeatures) -> list[Tensor]:
        """What the next stage adds to its down-sampling features, finest first; empty without aggregation."""
        return [
            from_down(down) + from_up(up)
            for from_down, from_up, down, up in zip(self.from_down, self.from_up, *features, strict=False)
        ]


class StageLink(Aggregation):
    """Between two stages: the next stage's input, and features for each of its levels.

    Args:
        down: of the next stage; that of the stage before has the same shape.
    """

    def __init__(self, config: ModelConfig, down: Downsample) -> None:
        super().__init__(down.out_channels if config.aggregation else (), config.up_channels)
        self.next_input = ConvNormReLU(config.up_channels, down.in_channels, 1)

    def forward(self, features: StageFeatures) -> tuple[Tensor, list[Tensor]]:
        """The next stage's (B, in_channels, H/4, W/4), and what it adds at each level."""
        return self.next_input(features.up[0]), self.aggregate(features)


class MSPN(PoseNetwork):
    """Several single-stage modules in a row, each seeing what the one before it found."""

    config: ModelConfig

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = build_stem(config)
        stages = [SingleStage(config, coarse_heads=config.coarse_heads) for _ in range(config.num_stages)]
        self.stages = cast("Sequence[SingleStage]", nn.ModuleList(stages))
        self.links = nn.ModuleList(StageLink(config, stage.down) for stage in stages[1:])
        initialize(self)

    def forward(self, crops: Tensor) -> list[list[Tensor]]:
        return [
            stage.heatmaps(features) for stage, features in zip(self.stages, self._stage_features(crops), strict=True)
        ]

    def final_heatmaps(self, crops: Tensor) -> Tensor:
        return self.stages[-1].finest_heatmaps(self._stage_features(crops)[-1])

    def _stage_features(self, crops: Tensor) -> list[StageFeatures]:
        check_crops(crops)
        x = self.stem(crops)  # (B, C, H/4, W/4)
        outputs = [self.stages[0](x, [])]
        for link, stage in zip(self.links, self.stages[1:], strict=True):
            x, skip_features = link(outputs[-1])
            outputs.append(stage(x, skip_features))
        return outputs
