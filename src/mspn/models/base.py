"""The interface of pose networks, their initial weights, and the normalization of their input."""

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn

from mspn.config.model import CHANNEL_DEVIATION, CHANNEL_MEAN, CROP_MULTIPLE, NetworkConfig
from mspn.errors import InvalidValueError
from mspn.models.blocks import HeatmapConv, HeatmapConvNorm
from mspn.structures.shapes import Float, UInt8

Network = TypeVar("Network", bound=nn.Module)
"""The class of a network, kept by functions that return it."""


class PoseNetwork(nn.Module, ABC):
    """A network from crops to heat maps. Weights are random until loaded: see `mspn.load_model`."""

    config: NetworkConfig

    @abstractmethod
    def forward(self, crops: Tensor) -> list[list[Tensor]]:
        """Heat maps of all stages and levels.

        Args:
            crops: (B, 3, H, W), normalized RGB (`mspn.models.base.normalize`); H and W are multiples of 32.

        Returns:
            Stages, each a list of levels from fine to coarse, each (B, K, H/4, W/4) with peak 1.

        Raises:
            ValueError: if H or W is no multiple of 32.
        """

    @abstractmethod
    def final_heatmaps(self, crops: Tensor) -> Tensor:
        """(B, K, H/4, W/4) of the last stage's finest level, exactly as `forward` gives it; other heads do not run."""


def place(model: Network, device: torch.device) -> Network:
    """Move a network to a device, its weights in channels-last memory, where convolutions are fastest."""
    model = model.to(device)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # not in its stubs


def check_crops(crops: Tensor) -> None:
    """Check the shape of a batch of crops.

    Raises:
        ValueError: if the shape is not (B, 3, H, W) with multiples of 32 for H and W.
    """
    if crops.ndim != 4 or crops.shape[1] != 3:
        raise InvalidValueError(f"crops must have the shape (batch, 3, height, width), not {tuple(crops.shape)}")
    height, width = crops.shape[-2:]
    if height % CROP_MULTIPLE or width % CROP_MULTIPLE:
        raise InvalidValueError(
            f"crop height and width must be multiples of {CROP_MULTIPLE} pixels, not {height}x{width}"
        )


def initialize(network: nn.Module) -> None:
    """Kaiming normal, fan out, for every convolution (MMPose does so; the released code only on the way down).

    Heat maps start flat: a head's norm has the released code's weight of 1, which meets a peak of 255 there and 1
    here; a head without norm starts as if it had one. With a weight of 1, hundreds of steps would go into shrinking
    noise.
    """
    if next(network.parameters()).is_meta:  # no memory to fill: the network is only counted, or weights are loaded next
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, HeatmapConvNorm):
            nn.init.constant_(module.norm.weight, 1 / 255)
        elif isinstance(module, HeatmapConv):
            # Fan in: maps of normalized features get a deviation of 1/255, as behind a norm.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            with torch.no_grad():
                module.weight /= 255


def normalize(crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    """RGB crops from 0 to 255 as networks take them, on the same device, in channels-last memory."""
    width = crops.shape[2]
    # Channels of whole rows, and in place: torch is many times slower where it broadcasts over three numbers, and steps
    # out of place would allocate a batch's memory again, which slows long runs.
    mean, deviation = (
        (torch.tensor(values, device=crops.device) * 255).repeat(width) for values in (CHANNEL_MEAN, CHANNEL_DEVIATION)
    )
    rows = crops.flatten(2).float()
    return rows.sub_(mean).div_(deviation).view(crops.shape).permute(0, 3, 1, 2)


RELEASED_PEAK = 255.0
"""Losses are given in the released code's units, errors of maps with peak 255, so that its weight decay
and learning rate keep their meaning; our maps have peak 1."""
