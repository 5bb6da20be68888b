"""The multi-stage pose network (paper Sec. 3)."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mspn.config import ModelConfig
from mspn.model.blocks import ConvNormReLU
from mspn.model.cross_stage import StageLink
from mspn.model.single_stage import Head, SingleStage, StageFeatures

CROP_MULTIPLE = 32
"""The coarsest level is at 1/32 of the crop's size."""


class Stem(nn.Sequential):
    """7x7 convolution and max-pool: crops to (B, C, H/4, W/4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNormReLU(3, channels, 7, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)


class MSPN(nn.Module):
    """Several single-stage modules in a row, each seeing what the one before it found.

    Args:
        config: the network's shape. Weights are random until loaded: see `mspn.load_model`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config.stem_channels)
        stages = [SingleStage(config) for _ in range(config.num_stages)]
        self.stages = cast("Sequence[SingleStage]", nn.ModuleList(stages))
        down_channels = stages[0].down.out_channels
        self.links = nn.ModuleList(StageLink(config, down_channels) for _ in range(config.num_stages - 1))
        _initialise(self)

    def forward(self, crops: Tensor) -> list[list[Tensor]]:
        """Heat maps of all stages and levels.

        Args:
            crops: (B, 3, H, W), normalised RGB (`mspn.crop.normalise`); H and W are multiples of 32.

        Returns:
            Stages, each a list of levels from fine to coarse, each (B, K, H/4, W/4) with peak 1.

        Raises:
            ValueError: if H or W is no multiple of 32.
        """
        return [
            stage.heatmaps(features) for stage, features in zip(self.stages, self._stage_features(crops), strict=True)
        ]

    def final_heatmaps(self, crops: Tensor) -> Tensor:
        """(B, K, H/4, W/4) of the last stage's finest level, exactly as `forward` gives it; no other head runs."""
        return self.stages[-1].finest_heatmaps(self._stage_features(crops)[-1])

    def _stage_features(self, crops: Tensor) -> list[StageFeatures]:
        _check_crops(crops)
        x = self.stem(crops)  # (B, C, H/4, W/4)
        outputs = [self.stages[0](x, [])]
        for link, stage in zip(self.links, self.stages[1:], strict=True):
            x, injected = link(outputs[-1])
            outputs.append(stage(x, injected))
        return outputs


def place(model: MSPN, device: torch.device) -> MSPN:
    """Move a network to a device, its weights in channels-last memory, where convolutions are fastest."""
    model = model.to(device)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # not in its stubs


def _check_crops(crops: Tensor) -> None:
    if crops.ndim != 4 or crops.shape[1] != 3:
        raise ValueError(f"crops must have the shape (batch, 3, height, width), not {tuple(crops.shape)}")
    height, width = crops.shape[-2:]
    if height % CROP_MULTIPLE or width % CROP_MULTIPLE:
        raise ValueError(f"crop height and width must be multiples of {CROP_MULTIPLE} pixels, not {height}x{width}")


def _initialise(network: nn.Module) -> None:
    """Kaiming normal, fan out, for every convolution (MMPose does so; the released code only on the way down).

    Heat maps start flat: their norm's weight is the released code's 1, which meets a peak of 255 there and 1 here.
    With a weight of 1, hundreds of steps would go into shrinking noise.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, Head):
            nn.init.constant_(module.predict.norm.weight, 1 / 255)
