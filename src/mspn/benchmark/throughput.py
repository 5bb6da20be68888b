"""Crops a second, by network, engine, precision and batch size."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.inference.engines import HeatmapFunction
from mspn.inference.quantization import calibrate_activations
from mspn.inference.runner import Runner
from mspn.models.base import Network, PoseNetwork, normalize
from mspn.models.blocks import resize
from mspn.models.mspn import UpUnit


def clock_for(threads: int) -> Callable[[], float]:
    """The processor's time for one thread, which other programs disturb little; for several, the clock on the wall."""
    return time.process_time if threads == 1 else time.perf_counter


REFERENCE = "reference"
_CPU = torch.device("cpu")
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = 4096
_MIB = 2**20


class Setup(NamedTuple):
    """One way to run a network."""

    model: str
    engine: str
    """Of the engines, or "reference"."""
    precision: str
    threads: int


@dataclass(frozen=True)
class Rate:
    """What one way to run a network does."""

    model: str
    engine: str
    precision: str
    threads: int
    batch: int
    crops_per_second: float
    """The median of the rounds, by `clock_for`."""
    error: float
    """Relative to the root mean square of what the reference answers."""
    start_seconds: float
    """Preparing the network and the first inference."""
    memory_mib: float | None
    """That this took, where the system tells; memory that was free before is not counted. None for int8."""


class _Ready(NamedTuple):
    predict_heatmaps: HeatmapFunction
    start_seconds: float
    memory_mib: float | None


def measure_rates(
    networks: dict[str, PoseNetwork], setups: Sequence[Setup], batches: Sequence[int], rounds: int
) -> list[Rate]:
    """Time all ways to run some networks on the CPU, alternating.

    Args:
        networks: in eval mode, by name.
        setups: ways to run them.
        batches: crops at once.
        rounds: how often each is timed.
    """
    ready = {setup: _start(networks[setup.model], setup) for setup in setups}
    rates = []
    for batch in batches:
        crops = {name: _draw_crops(network, batch) for name, network in networks.items()}
        expected = {name: ReferencePath(network)(crops[name]) for name, network in networks.items()}
        errors = {}
        for setup, one in ready.items():
            torch.set_num_threads(setup.threads)
            wrong = one.predict_heatmaps(crops[setup.model]) - expected[setup.model]
            errors[setup] = (wrong.norm() / expected[setup.model].norm()).item()
        taken: dict[Setup, list[float]] = {setup: [] for setup in setups}
        for _ in range(rounds):
            for setup, one in ready.items():
                torch.set_num_threads(setup.threads)
                now = clock_for(setup.threads)
                began = now()
                one.predict_heatmaps(crops[setup.model])
                taken[setup].append(now() - began)
        for setup, one in ready.items():
            rate = batch / statistics.median(taken[setup])
            rates.append(Rate(*setup, batch, rate, errors[setup], one.start_seconds, one.memory_mib))
    return rates


def _start(network: PoseNetwork, setup: Setup) -> _Ready:
    torch.set_num_threads(setup.threads)
    # On such noise as it is timed with: how fast it is does not depend on the ranges.
    ranges = calibrate_activations(network, _draw_crops(network, 1)) if setup.precision == "int8" else None
    # Measuring them leaves memory behind, which starting uses then.
    before = None if ranges else _resident_mib()
    began = time.perf_counter()
    if setup.engine == REFERENCE:
        predict_heatmaps: HeatmapFunction = ReferencePath(network)
    else:
        predict_heatmaps = Runner(network, _CPU, setup.precision, setup.engine, ranges)  # type: ignore[arg-type]  # checked there
    predict_heatmaps(_draw_crops(network, 1))
    seconds, after = time.perf_counter() - began, _resident_mib()
    return _Ready(predict_heatmaps, seconds, None if before is None or after is None else after - before)


def _draw_crops(network: PoseNetwork, batch: int) -> torch.Tensor:
    size = (batch, *network.config.input_size, 3)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(batch))


def _resident_mib() -> float | None:
    """Memory of this process, on Linux."""
    return int(_STATM.read_text().split()[1]) * _PAGE_BYTES / _MIB if _STATM.exists() else None


class ReferencePath:
    """float32, channels first, batch norms on their own, all heads, resize before the 1x1 convolution, on the CPU."""

    def __init__(self, model: PoseNetwork) -> None:
        self._model = resize_first(copy.deepcopy(model))

    @torch.inference_mode()
    def __call__(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """The last heat maps of RGB crops."""
        heatmaps: Tensor = self._model(normalize(crops).contiguous())[-1][0]
        return heatmaps


def resize_first(network: Network) -> Network:
    """Let a network's up-sampling units resize before their 1x1 convolutions, in place, as the released code does."""
    for module in network.modules():
        if isinstance(module, UpUnit):
            module.forward = partial(_merge_as_released, module)  # type: ignore[method-assign]
    return network


def _merge_as_released(unit: UpUnit, down: Tensor, coarser: Tensor | None) -> Tensor:
    merged: Tensor = unit.lateral(down)
    if unit.from_coarser is not None and coarser is not None:
        merged = merged + unit.from_coarser(resize(coarser, *down.shape[-2:]))
    return merged.relu()
