"""Cross-stage feature aggregation: what one stage hands to the next (paper Sec. 3.2, Fig. 3)."""

from collections.abc import Sequence

from torch import Tensor, nn

from mspn.model.blocks import ConvNormReLU
from mspn.model.down_unit import DownUnit
from mspn.model.single_stage import StageFeatures
from mspn.model_config import ModelConfig


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

    def __init__(self, config: ModelConfig, down: DownUnit) -> None:
        super().__init__(down.out_channels if config.aggregation else (), config.up_channels)
        self.next_input = ConvNormReLU(config.up_channels, down.in_channels, 1)

    def forward(self, features: StageFeatures) -> tuple[Tensor, list[Tensor]]:
        """The next stage's (B, in_channels, H/4, W/4), and what it adds at each level."""
        return self.next_input(features.up[0]), self.aggregate(features)
