"""The multi-stage pose network (paper Sec. 3)."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from mspn.model.backbones import build_stem
from mspn.model.cross_stage import StageLink
from mspn.model.pose_network import PoseNetwork, check_crops, initialise
from mspn.model.single_stage import SingleStage, StageFeatures
from mspn.model_config import ModelConfig


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
        initialise(self)

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
            x, injected = link(outputs[-1])
            outputs.append(stage(x, injected))
        return outputs
