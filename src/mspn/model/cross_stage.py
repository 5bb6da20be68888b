"""Cross-stage feature aggregation: what one stage hands to the next (paper Sec. 3.2, Fig. 3)."""

from collections.abc import Sequence

from torch import Tensor, nn

from mspn.config import ModelConfig
from mspn.model.blocks import ConvNormReLU
from mspn.model.single_stage import StageFeatures


class StageLink(nn.Module):
    """Between two stages: the next stage's input, and features for each of its levels.

    Both aggregation paths end in a ReLU, as in the released code.
    """

    def __init__(self, config: ModelConfig, down_channels: Sequence[int]) -> None:
        super().__init__()
        self.next_input = ConvNormReLU(config.up_channels, config.stem_channels, 1)
        aggregated = down_channels if config.aggregation else ()
        self.from_down = nn.ModuleList(ConvNormReLU(channels, channels, 1) for channels in aggregated)
        self.from_up = nn.ModuleList(ConvNormReLU(config.up_channels, channels, 1) for channels in aggregated)

    def forward(self, features: StageFeatures) -> tuple[Tensor, list[Tensor]]:
        """The next stage's (B, stem_channels, H/4, W/4), and what it adds at each level: empty without aggregation."""
        injected = [
            from_down(down) + from_up(up)
            for from_down, from_up, down, up in zip(self.from_down, self.from_up, *features, strict=False)
        ]
        return self.next_input(features.up[0]), injected
