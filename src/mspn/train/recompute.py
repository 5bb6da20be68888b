"""Activation checkpointing: keep only what enters a block, and compute the block again in the backward pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mspn.model.blocks import Stem


def recompute_activations(network: nn.Module) -> None:
    """Let a network's blocks forget their activations, in place; results and names of tensors stay as they are.

    A block is what stands in one of the network's lists: a residual block, an up-sampling unit, a head. Batch
    statistics are counted once: the released code's own checkpointing counts them twice a step.
    """
    for block in _blocks(network):
        contexts = partial(_contexts, block)
        block.forward = partial(
            checkpoint, block.forward, use_reentrant=False, context_fn=contexts, preserve_rng_state=False
        )


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The stem, and the innermost modules that stand in a list or a plain sequence and have weights."""
    is_list = isinstance(module, nn.ModuleList) or type(module) is nn.Sequential
    for child in module.children():
        inner = list(_blocks(child))
        if inner:
            yield from inner
        elif isinstance(child, Stem) or (is_list and any(True for _ in child.parameters())):
            yield child


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _without_counting(block)


@contextmanager
def _without_counting(block: nn.Module) -> Iterator[None]:
    """Let batch norms normalise as before, and leave their running statistics alone."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.training]
    before = [(norm, norm.momentum, cast("Tensor", norm.num_batches_tracked).clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum = momentum
            cast("Tensor", norm.num_batches_tracked).copy_(count)
