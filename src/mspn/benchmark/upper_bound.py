"""Upper bounds of the speed on this processor: a large matrix product, and a network's convolutions alone."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mspn.benchmark.throughput import clock_for
from mspn.inference.fold import OneDnnConv, can_prepack
from mspn.models.base import PoseNetwork, place
from mspn.models.cost import conv_multiply_adds

Clock = Callable[[], float]

_CPU = torch.device("cpu")
_SIDE = 2048
_REPEATS = 5


class _ConvCase(NamedTuple):
    """A convolution and the shape of its input; equal cases are timed once."""

    description: str
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class UpperBound:
    """Speeds that a network cannot exceed on this machine in one precision."""

    model: str
    precision: str
    batch: int
    threads: int
    gmacs: float
    """Billions of multiply-adds executed per crop."""
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
        batch: crops per call.
        threads: number of torch's threads.
        matrix_gmacs_per_second: from `measure_matrix_product`.
    """
    torch.set_num_threads(threads)
    dtype: torch.dtype = getattr(torch, precision)
    convs: dict[_ConvCase, nn.Module] = {}
    counts: Counter[_ConvCase] = Counter()
    macs = 0

    def count_conv(conv: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal macs
        case = _ConvCase(repr(conv), *inputs[0].shape[1:])
        convs[case] = conv
        counts[case] += 1
        macs += conv_multiply_adds(conv, inputs[0], output)

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(count_conv) for layer in layers]
    model.final_heatmaps(torch.zeros(1, 3, *model.config.input_size))
    for hook in hooks:
        hook.remove()
    clock = clock_for(threads)
    seconds = sum(count * _time_convolution(convs[case], case, batch, dtype, clock) for case, count in counts.items())
    gmacs = macs / 1e9
    by_matrix = matrix_gmacs_per_second / gmacs
    return UpperBound(name, precision, batch, threads, gmacs, matrix_gmacs_per_second, by_matrix, batch / seconds)


@torch.inference_mode()
def measure_matrix_product(precision: str, threads: int) -> float:
    """Billions of multiply-adds per second of a product of two 2048 x 2048 matrices."""
    torch.set_num_threads(threads)
    dtype: torch.dtype = getattr(torch, precision)
    left, right = torch.randn(2, _SIDE, _SIDE).to(dtype)
    return _SIDE**3 / 1e9 / _fastest(lambda: left @ right, clock_for(threads))


def _time_convolution(conv: nn.Module, case: _ConvCase, batch: int, dtype: torch.dtype, clock: Clock) -> float:
    crops = torch.randn(batch, *case[1:]).to(dtype, memory_format=torch.channels_last)
    # The convolutions have no bias, since norms are not folded here; with a bias they take as long.
    placed = place(copy.deepcopy(conv).to(dtype), _CPU)
    layer = OneDnnConv(placed) if isinstance(placed, nn.Conv2d) and can_prepack(_CPU, dtype) else placed
    return _fastest(lambda: layer(crops), clock)


def _fastest(run: Callable[[], Any], clock: Clock) -> float:
    run()
    durations = []
    for _ in range(_REPEATS):
        start = clock()
        run()
        durations.append(clock() - start)
    return min(durations)
