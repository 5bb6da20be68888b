"""What every backbone offers: features at four levels, and room for what the previous stage found."""

from collections.abc import Sequence

from torch import Tensor, nn


class DownUnit(nn.Module):
    """Four layers at 1/4, 1/8, 1/16 and 1/32 of the crop's size. A backbone fills `layers` and `out_channels`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.out_channels: list[int] = []

    def forward(self, x: Tensor, injected: Sequence[Tensor]) -> list[Tensor]:
        """Features of (B, stem_channels, H/4, W/4), finest first.

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
