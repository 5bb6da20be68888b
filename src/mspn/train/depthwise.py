"""Depthwise convolutions in float32, where training runs in bfloat16 on a CPU."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn


def keep_depthwise_in_float32(network: nn.Module) -> None:
    """Let convolutions of each channel alone compute in float32 under autocast, in place; names of tensors stay.

    On CPUs their backward pass in bfloat16 takes up to fifteen times as long as in float32 (torch 2.13, 5x5 kernels).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.forward = partial(_in_float32, module.forward)  # type: ignore[method-assign]


def _in_float32(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return forward(x.float()).to(x.dtype)
