"""What every backbone offers: features at four levels, and room for what the previous stage found."""

from collections.abc import Sequence

from torch import Tensor, nn

from mspn.model_config import BackboneConfig


class DownUnit(nn.Module):
    """Four layers at 1/4, 1/8, 1/16 and 1/32 of the crop's size. A backbone fills `layers` and `out_channels`.

    Args:
        in_channels: of the features at 1/4 that it takes, from the stem or from the stage before.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.layers = nn.ModuleList()
        self.out_channels: list[int] = []

    def forward(self, x: Tensor, injected: Sequence[Tensor]) -> list[Tensor]:
        """Features of (B, in_channels, H/4, W/4), finest first.

        Args:
            x: from the stem or the previous stage.
            injected: a tensor for each level, added to the layer's output before the next layer sees it; or none.
        """
        features = []
        for level, layer in enumerate(self.layers):
            x = layer(x)
            if injected:
                x = x + injected[level]
            features.append(x)
        return features


def scale_width(channels: int, config: BackboneConfig) -> int:
    """Channels that a backbone of fixed widths has in the settings' width, at least 1; `channels` where that is 64."""
    return max(1, channels * config.stem_channels // 64)
