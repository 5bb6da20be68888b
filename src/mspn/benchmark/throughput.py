"""Crops a second, by network, engine, precision and batch size."""

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.inference.engines import HeatmapFunction
from mspn.inference.exported import ExportedNetwork, load_exported
from mspn.inference.quantization import calibrate_activations
from mspn.inference.runner import Runner
from mspn.models.base import Network, PoseNetwork, normalize
from mspn.models.blocks import resize
from mspn.models.mspn import UpUnit


def clock_for(threads: int) -> Callable[[], float]:
    """CPU time for one thread, which other programs affect little; wall-clock time for several."""
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
    """An engine's name, or "reference"."""
    precision: str
    threads: int


@dataclass(frozen=True)
class Rate:
    """Measured speed of a setup at one batch size."""

    model: str
    engine: str
    precision: str
    threads: int
    batch: int
    crops_per_second: float
    """Median over the rounds, by `clock_for`."""
    error: float | None
    """Root mean square difference from the reference's heat maps, relative to their root mean square; None for an
    exported file, which has no reference."""
    start_seconds: float
    """To prepare the network and run the first inference."""
    memory_mib: float | None
    """Growth of resident memory during the start; None where the system hides it, and for int8."""


class _StartedEngine(NamedTuple):
    predict: Callable[[UInt8[Tensor, "B H W 3"]], object]
    start_seconds: float
    memory_mib: float | None


def measure_rates(
    networks: Mapping[str, PoseNetwork | ExportedNetwork], setups: Sequence[Setup], batches: Sequence[int], rounds: int
) -> list[Rate]:
    """Time all setups on the CPU, taking turns in every round.

    Args:
        networks: in eval mode, or exported, by name.
        setups: engines, precisions and threads to run them with.
        batches: numbers of crops per call.
        rounds: number of timed runs of each.
    """
    engines = {setup: _start_setup(networks[setup.model], setup) for setup in setups}
    rates = []
    for batch in batches:
        crops = {name: _draw_crops(network, batch) for name, network in networks.items()}
        expected = {
            name: ReferencePath(network)(crops[name])
            for name, network in networks.items()
            if isinstance(network, PoseNetwork)
        }
        errors: dict[Setup, float | None] = {}
        for setup, engine in engines.items():
            torch.set_num_threads(setup.threads)
            answer, reference = engine.predict(crops[setup.model]), expected.get(setup.model)
            errors[setup] = None
            if isinstance(answer, Tensor) and reference is not None:
                errors[setup] = ((answer - reference).norm() / reference.norm()).item()
        durations: dict[Setup, list[float]] = {setup: [] for setup in setups}
        for _ in range(rounds):
            for setup, engine in engines.items():
                torch.set_num_threads(setup.threads)
                clock = clock_for(setup.threads)
                start = clock()
                engine.predict(crops[setup.model])
                durations[setup].append(clock() - start)
        for setup, engine in engines.items():
            rate = batch / statistics.median(durations[setup])
            rates.append(Rate(*setup, batch, rate, errors[setup], engine.start_seconds, engine.memory_mib))
    return rates


def _start_setup(network: PoseNetwork | ExportedNetwork, setup: Setup) -> _StartedEngine:
    torch.set_num_threads(setup.threads)
    if isinstance(network, ExportedNetwork):
        return _start(lambda: load_exported(network.path).network.run, _draw_crops(network, 1), _resident_mib())
    # Calibrated on noise like that of the timings: the speed does not depend on the ranges.
    ranges = calibrate_activations(network, _draw_crops(network, 1)) if setup.precision == "int8" else None
    # Calibration leaves free memory in the process, which the start then reuses, so its growth says nothing.
    memory_before = None if ranges else _resident_mib()

    def make() -> HeatmapFunction:
        if setup.engine == REFERENCE:
            return ReferencePath(network)
        return Runner(network, _CPU, setup.precision, setup.engine, ranges)  # type: ignore[arg-type]  # checked there

    return _start(make, _draw_crops(network, 1), memory_before)


def _start(
    make: Callable[[], Callable[[UInt8[Tensor, "B H W 3"]], object]], crops: Tensor, memory_before: float | None
) -> _StartedEngine:
    """Make an engine and let it answer once."""
    start = time.perf_counter()
    predict = make()
    predict(crops)
    seconds, memory_after = time.perf_counter() - start, _resident_mib()
    return _StartedEngine(
        predict,
        seconds,
        None if memory_before is None or memory_after is None else memory_after - memory_before,
    )


def _draw_crops(network: PoseNetwork | ExportedNetwork, batch: int) -> torch.Tensor:
    crop_size = network.size if isinstance(network, ExportedNetwork) else network.config.input_size
    size = (batch, *crop_size, 3)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(batch))


def _resident_mib() -> float | None:
    """Resident memory of this process; None on systems other than Linux."""
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
