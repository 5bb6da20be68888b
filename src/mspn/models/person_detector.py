"""The person detector: a single-stage module with a detection head at each of three scales."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mspn.config.model import DetectorConfig
from mspn.models.backbones import build_downsample, build_stem
from mspn.models.base import check_crops, initialize
from mspn.models.blocks import ConvNormReLU
from mspn.models.mspn import UpUnit
from mspn.structures.shapes import Float

STRIDES = (8, 16, 32)
"""Pixels per cell of each level, finest first. A cell proposes one box."""

_FIRST_SCORE = 0.01
"""Nearly all cells are background; starting there saves the first hundreds of steps."""
_FIRST_REACH = 2.0
"""Cells from a cell's center to each side of its box, before training."""
_MAX_REACH = 256.0
"""Keeps boxes finite whatever the weights."""


class Candidates(NamedTuple):
    """One box from every cell of every level, N in all."""

    logits: Float[Tensor, "B N"]
    """Sigmoid gives the score: how well the box covers a person, 0 where there is none."""
    boxes: Float[Tensor, "B N 4"]
    """Left, top, right and bottom in pixels of the network's input."""
    centers: Float[Tensor, "N 2"]
    """(x, y) of each cell's center."""
    num_cells: list[int]
    """Of each level, finest first."""


class DetectionHead(nn.Module):
    """Score and box of each cell of a level, at that level's own resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = ConvNormReLU(channels, channels, 3)
        self.score_features = ConvNormReLU(channels, channels, 3)
        self.box_features = ConvNormReLU(channels, channels, 3)
        self.score = nn.Conv2d(channels, 1, 1)
        self.box = nn.Conv2d(channels, 4, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 1, h, w), and logarithms of the distances to the four sides in cells (B, 4, h, w)."""
        shared = self.shared(features)
        return self.score(self.score_features(shared)), self.box(self.box_features(shared))


class PersonDetector(nn.Module):
    """A network from images to candidate boxes of people. Weights are random until loaded."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = build_stem(config)
        self.down = build_downsample(config)
        widths = self.down.out_channels[-len(STRIDES) :]
        self.up = nn.ModuleList(
            UpUnit(width, config.up_channels, is_coarsest=level == len(STRIDES) - 1)
            for level, width in enumerate(widths)
        )
        self.heads = nn.ModuleList(DetectionHead(config.up_channels) for _ in STRIDES)
        initialize(self)
        for head in self.heads:
            _start_cautiously(head)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Candidates:
        """Candidate boxes of normalized RGB images (`mspn.models.base.normalize`); H and W are multiples of 32.

        Raises:
            ValueError: if H or W is no multiple of 32.
        """
        check_crops(images)
        features = self.down(self.stem(images), [])[-len(STRIDES) :]
        levels: list[Candidates] = []
        coarser = None
        for level in reversed(range(len(STRIDES))):
            coarser = self.up[level](features[level], coarser)
            logits, log_reach = self.heads[level](coarser)
            levels.insert(0, _decode(logits, log_reach, STRIDES[level]))
        return Candidates(
            torch.cat([level.logits for level in levels], 1),
            torch.cat([level.boxes for level in levels], 1),
            torch.cat([level.centers for level in levels]),
            [len(level.centers) for level in levels],
        )


def _start_cautiously(head: nn.Module) -> None:
    assert isinstance(head, DetectionHead)
    if head.score.weight.is_meta:
        return
    for layer, value in ((head.score, -math.log(1 / _FIRST_SCORE - 1)), (head.box, math.log(_FIRST_REACH))):
        nn.init.normal_(layer.weight, std=0.01)
        assert layer.bias is not None
        nn.init.constant_(layer.bias, value)


def _decode(logits: Tensor, log_reach: Tensor, stride: int) -> Candidates:
    height, width = logits.shape[-2:]
    x, y = ((torch.arange(length, device=logits.device) + 0.5) * stride for length in (width, height))
    # Not by repeat_interleave, which torch's exporter gets wrong where the length is open.
    centers = torch.stack([x.expand(height, width), y.unsqueeze(-1).expand(height, width)], -1).flatten(0, 1)
    reach = log_reach.float().clamp(max=math.log(_MAX_REACH)).exp() * stride
    reach = reach.flatten(2).transpose(1, 2)
    boxes = torch.cat([centers - reach[..., :2], centers + reach[..., 2:]], -1)
    return Candidates(logits.float().flatten(1), boxes, centers, [len(centers)])
