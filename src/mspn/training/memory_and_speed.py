"""Training with less memory (recomputed activations) and faster depthwise convolutions."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mspn.models.blocks import Stem


def keep_depthwise_in_float32(network: nn.Module) -> None:
    """Run depthwise convolutions in float32 under autocast, in place; names of tensors do not change.

    On CPUs their backward pass in bfloat16 takes up to fifteen times as long as in float32 (torch 2.13, 5x5 kernels).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.forward = partial(_in_float32, module.forward)  # type: ignore[method-assign]


def _in_float32(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return forward(x.float()).to(x.dtype)


def recompute_activations(network: nn.Module) -> None:
    """Checkpoint the activations of a network's blocks, in place; results and names of tensors do not change.

    A block is a member of one of the network's lists: a residual block, an up-sampling unit, a head. Running statistics
    are updated once a step; the released code's own checkpointing updates them twice.
    """
    for block in _blocks(network):
        contexts = partial(_contexts, block)
        block.forward = partial(
            checkpoint, block.forward, use_reentrant=False, context_fn=contexts, preserve_rng_state=False
        )


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The stem, and the innermost modules with weights that are members of a ModuleList or Sequential."""
    is_list = isinstance(module, nn.ModuleList) or type(module) is nn.Sequential
    for child in module.children():
        inner = list(_blocks(child))
        if inner:
            yield from inner
        elif isinstance(child, Stem) or (is_list and any(True for _ in child.parameters())):
            yield child


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norms in training mode normalize by the batch, without an update of their running statistics."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.training]
    saved = [(norm, norm.momentum, cast("Tensor", norm.num_batches_tracked).clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in saved:
            norm.momentum = momentum
            cast("Tensor", norm.num_batches_tracked).copy_(count)
