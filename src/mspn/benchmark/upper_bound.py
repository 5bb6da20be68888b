"""How fast this processor could be: a large matrix product, and a network's convolutions one by one."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mspn.benchmark.throughput import clock_for
from mspn.inference.onednn import OneDnnConv, can_prepack
from mspn.models.base import PoseNetwork, place
from mspn.models.cost import conv_multiply_adds

Clock = Callable[[], float]

_CPU = torch.device("cpu")
_SIDE = 2048
_REPEATS = 5


class _Step(NamedTuple):
    """A convolution and the size of its input; equal ones are measured once."""

    description: str
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class UpperBound:
    """What a network cannot exceed on this machine, in a precision."""

    model: str
    precision: str
    batch: int
    threads: int
    gmacs: float
    """Billions of multiply-adds of a crop, as they run."""
    matrix_gmacs_per_second: float
    """Of a large matrix product."""
    matrix_crops_per_second: float
    """If the network's multiply-adds ran at that speed."""
    convolution_crops_per_second: float
    """If nothing but its convolutions took time, each alone and repeated."""


@torch.inference_mode()
def measure_upper_bound(
    name: str, model: PoseNetwork, precision: str, batch: int, threads: int, matrix_gmacs_per_second: float
) -> UpperBound:
    """Time each convolution of a network on its own, on the CPU.

    Args:
        name: of the network.
        model: in eval mode.
        precision: float32 or bfloat16.
        batch: crops at once.
        threads: of torch.
        matrix_gmacs_per_second: from `measure_matrix_product`.
    """
    torch.set_num_threads(threads)
    dtype: torch.dtype = getattr(torch, precision)
    convs: dict[_Step, nn.Module] = {}
    counts: Counter[_Step] = Counter()
    macs = 0

    def note(conv: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal macs
        step = _Step(repr(conv), *inputs[0].shape[1:])
        convs[step] = conv
        counts[step] += 1
        macs += conv_multiply_adds(conv, inputs[0], output)

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    model.final_heatmaps(torch.zeros(1, 3, *model.config.input_size))
    for hook in hooks:
        hook.remove()
    now = clock_for(threads)
    seconds = sum(count * _time_convolution(convs[step], step, batch, dtype, now) for step, count in counts.items())
    gmacs = macs / 1e9
    by_matrix = matrix_gmacs_per_second / gmacs
    return UpperBound(name, precision, batch, threads, gmacs, matrix_gmacs_per_second, by_matrix, batch / seconds)


@torch.inference_mode()
def measure_matrix_product(precision: str, threads: int) -> float:
    """Billions of multiply-adds a second of a matrix product whose operands fill the cache."""
    torch.set_num_threads(threads)
    dtype: torch.dtype = getattr(torch, precision)
    one, other = torch.randn(2, _SIDE, _SIDE).to(dtype)
    return _SIDE**3 / 1e9 / _fastest(lambda: one @ other, clock_for(threads))


def _time_convolution(conv: nn.Module, step: _Step, batch: int, dtype: torch.dtype, now: Clock) -> float:
    crops = torch.randn(batch, *step[1:]).to(dtype, memory_format=torch.channels_last)
    # Networks are measured as they are trained, so the copy has no bias; with one it takes as long.
    layer = place(copy.deepcopy(conv).to(dtype), _CPU)
    ready = OneDnnConv(layer) if isinstance(layer, nn.Conv2d) and can_prepack(_CPU, dtype) else layer
    return _fastest(lambda: ready(crops), now)


def _fastest(run: Callable[[], Any], now: Clock) -> float:
    run()
    taken = []
    for _ in range(_REPEATS):
        began = now()
        run()
        taken.append(now() - began)
    return min(taken)
