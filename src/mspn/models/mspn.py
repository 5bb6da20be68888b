"""MSPN, the multi-stage pose network of the paper's Figures 2 and 3.

crops -> stem -> stage 1 -> link -> stage 2 -> ... ; every stage predicts heat maps at its four levels.

Shapes: a crop is H x W; level i (0 is the finest) has features of (B, C_i, H/4/2^i, W/4/2^i) on the way down and
(B, up_channels, same size) on the way up; all heat maps are (B, K, H/4, W/4).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional

from mspn.config.model import BackboneConfig, CPNConfig, ModelConfig, PoseRefineForm
from mspn.errors import InvalidValueError
from mspn.models.backbones import build_downsample, build_stem
from mspn.models.base import RELEASED_PEAK, PoseNetwork, check_crops, initialize
from mspn.models.blocks import ConvNorm, ConvNormReLU, Downsample, HeatmapConvNorm, resize


class StageFeatures(NamedTuple):
    """Features of a stage, each a list over levels, finest first."""

    down: list[Tensor]
    up: list[Tensor]


class UpUnit(nn.Module):
    """One level of the way up: ReLU(1x1 conv of its down-sampling features + resized 1x1 conv of the coarser level)."""

    def __init__(self, in_channels: int, channels: int, *, is_coarsest: bool) -> None:
        super().__init__()
        self.lateral = ConvNorm(in_channels, channels, 1)
        self.from_coarser = None if is_coarsest else ConvNorm(channels, channels, 1)

    def forward(self, down: Tensor, coarser: Tensor | None) -> Tensor:
        """(B, in_channels, h, w) and the coarser (B, channels, h/2, w/2), None at the coarsest: (B, channels, h, w)."""
        if self.from_coarser is None or coarser is None:
            return functional.relu(self.lateral(down), inplace=True)
        # The released code resizes first. A 1x1 convolution and a resize commute, so it runs on a quarter of the cells
        # here; batch norm comes after the resize, because its statistics are those of the finer cells.
        resized = self.from_coarser.norm(resize(self.from_coarser.conv(coarser), *down.shape[-2:]))
        return self.lateral.add_and_relu(down, resized)


class Head(nn.Sequential):
    """(B, channels, h, w) features of one level to (B, num_keypoints, h, w) heat maps: 1x1, then 3x3 convolution."""

    def __init__(self, channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.reduce = ConvNormReLU(channels, channels, 1)
        self.predict = HeatmapConvNorm(channels, num_keypoints, 3)


class PoseRefineMachine(nn.Module):
    """Weighs heat maps by a factor per map times a factor per cell (RSN's attention behind a head).

    Both factors are at least 0.5, since a sigmoid follows a ReLU; refined maps are never negative.

    Args:
        num_keypoints: channels of everything inside.
        form: of the factor per cell. official: each map has its own; mmpose: all maps share one.

    Source: the released code of RSN defines it and never uses it; MMPose has it behind every head, switched off.
    """

    def __init__(self, num_keypoints: int, form: PoseRefineForm) -> None:
        super().__init__()
        self.trunk = ConvNormReLU(num_keypoints, num_keypoints, 3)
        self.middle = nn.Sequential(*(ConvNormReLU(num_keypoints, num_keypoints, 1) for _ in range(2)))
        self.bottom = nn.Sequential(
            ConvNormReLU(num_keypoints, num_keypoints, 1),
            ConvNormReLU(num_keypoints, num_keypoints, 9, groups=num_keypoints),
        )
        if form == "mmpose":
            self.bottom.append(ConvNormReLU(num_keypoints, 1, 1))

    def forward(self, heatmaps: Tensor) -> Tensor:
        """(B, K, h, w) with peak 1, of the output's size, refined.

        Raises:
            ValueError: in training, if B is 1: the middle path's norms see a single cell of each person.
        """
        learns = any(module.training for module in self.middle.modules() if isinstance(module, nn.BatchNorm2d))
        if learns and len(heatmaps) < 2:
            raise InvalidValueError(
                "the pose refine machine learns from 2 or more people at once, not 1; raise train.batch_size, or lower"
                " train.accumulate or the number of processes"
            )
        # Inside, maps have the released code's peak, so that its weights keep their meaning.
        trunk = self.trunk(heatmaps * RELEASED_PEAK)
        by_map = self.middle(trunk.mean((2, 3), keepdim=True)).sigmoid()  # (B, K, 1, 1)
        by_cell = self.bottom(trunk).sigmoid()  # (B, K or 1, h, w)
        refined: Tensor = trunk * (1 + by_map * by_cell) / RELEASED_PEAK
        return refined


class SingleStage(nn.Module):
    """A U-shaped module with most of its capacity in the down-sampling unit, and a head at each level (Fig. 2)."""

    def __init__(
        self,
        config: ModelConfig | CPNConfig,
        backbone: BackboneConfig,
        *,
        coarse_heads: bool,
        pose_refine_machine: PoseRefineForm | None = None,
    ) -> None:
        super().__init__()
        self.down = build_downsample(backbone)
        coarsest = len(self.down.out_channels) - 1
        self.up = nn.ModuleList(
            UpUnit(channels, config.up_channels, is_coarsest=level == coarsest)
            for level, channels in enumerate(self.down.out_channels)
        )
        num_heads = len(self.up) if coarse_heads else 1
        self.heads = nn.ModuleList(Head(config.up_channels, config.num_keypoints) for _ in range(num_heads))
        self.refine = nn.ModuleList(
            nn.Identity()
            if pose_refine_machine is None
            else PoseRefineMachine(config.num_keypoints, pose_refine_machine)
            for _ in range(num_heads)
        )

    def forward(self, x: Tensor, skip_features: Sequence[Tensor]) -> StageFeatures:
        """Features of x, (B, in_channels, H/4, W/4); `skip_features` are added on the way down, see `Downsample`."""
        down = self.down(x, skip_features)
        up: list[Tensor] = []
        coarser = None
        for unit, features in zip(reversed(self.up), reversed(down), strict=True):
            coarser = unit(features, coarser)
            up.insert(0, coarser)
        return StageFeatures(down, up)

    def heatmaps(self, features: StageFeatures) -> list[Tensor]:
        """(B, K, H/4, W/4) from each head, finest level first; coarser heat maps are resized to the finest."""
        height, width = features.up[0].shape[-2:]
        finest, *coarser = (head(up) for head, up in zip(self.heads, features.up, strict=False))
        maps = [finest, *(resize(coarse, height, width) for coarse in coarser)]
        return [refine(level) for refine, level in zip(self.refine, maps, strict=True)]

    def finest_heatmaps(self, features: StageFeatures) -> Tensor:
        """(B, K, H/4, W/4) of the finest level; the other heads do not run."""
        maps: Tensor = self.refine[0](self.heads[0](features.up[0]))
        return maps


class Aggregation(nn.Module):
    """Cross-stage aggregation (Fig. 3): at each level, a 1x1 convolution of either flow of the previous stage.

    As in the released code, both convolutions end in a ReLU.

    Args:
        channels: of each level, finest first, on the way down of the previous and of the next stage; empty disables
            aggregation.
        up_channels: of the previous stage on the way up, at every level.
    """

    def __init__(self, channels: Sequence[tuple[int, int]], up_channels: int) -> None:
        super().__init__()
        self.from_down = nn.ModuleList(ConvNormReLU(previous, following, 1) for previous, following in channels)
        self.from_up = nn.ModuleList(ConvNormReLU(up_channels, following, 1) for _, following in channels)

    def aggregate(self, features: StageFeatures) -> list[Tensor]:
        """(B, C_i, h_i, w_i) that the next stage adds to its down-sampling features; empty without aggregation."""
        return [
            from_down(down) + from_up(up)
            for from_down, from_up, down, up in zip(self.from_down, self.from_up, *features, strict=False)
        ]


class StageLink(Aggregation):
    """From one stage to the next: the next stage's input, and the features aggregated at each of its levels.

    Args:
        previous: the previous stage's down-sampling unit.
        following: the next stage's.
    """

    def __init__(self, config: ModelConfig, previous: Downsample, following: Downsample) -> None:
        channels = list(zip(previous.out_channels, following.out_channels, strict=True))
        super().__init__(channels if config.aggregation else [], config.up_channels)
        self.next_input = ConvNormReLU(config.up_channels, following.in_channels, 1)

    def forward(self, features: StageFeatures) -> tuple[Tensor, list[Tensor]]:
        """The next stage's input, (B, in_channels, H/4, W/4), and its `skip_features`."""
        return self.next_input(features.up[0]), self.aggregate(features)


class MSPN(PoseNetwork):
    """Single-stage modules in a row, linked by cross-stage aggregation (Fig. 2)."""

    config: ModelConfig

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = build_stem(config)
        stages = [
            SingleStage(
                config,
                backbone,
                coarse_heads=config.coarse_heads,
                pose_refine_machine=config.pose_refine_machine,
            )
            for backbone in config.stage_backbones
        ]
        self.stages = cast("Sequence[SingleStage]", nn.ModuleList(stages))
        self.links = nn.ModuleList(
            StageLink(config, previous.down, following.down) for previous, following in pairwise(stages)
        )
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
