"""Crops a second, by network, engine, precision and batch size; time of each step from a file to keypoints.

Upper bounds of the speed on this processor are those of a large matrix product, and of a network's convolutions
alone.
"""

import copy
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mspn.inference.engines import HeatmapFunction
from mspn.inference.exported import ExportedNetwork, load_exported
from mspn.inference.fold import OneDnnConv, can_prepack
from mspn.inference.quantization import calibrate_activations
from mspn.inference.runner import Runner
from mspn.io.images import read_image
from mspn.models.base import Network, PoseNetwork, normalize, place
from mspn.models.blocks import resize
from mspn.models.cost import conv_multiply_adds
from mspn.models.mspn import UpUnit
from mspn.outputs.tables import JsonWriter
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import ImageResult
from mspn.structures.image import Image
from mspn.structures.shapes import Float, UInt8


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

        def open_again() -> Callable[[UInt8[Tensor, "B H W 3"]], object]:
            run = load_exported(network.path).network.run
            return lambda crops: run(crops.numpy())

        return _start(open_again, _draw_crops(network, 1), _resident_mib())
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


@dataclass(frozen=True)
class EndToEndTiming:
    """Seconds per step, over all images one after another."""

    model: str
    engine: str
    precision: str
    threads: int
    images: int
    people: int
    seconds: dict[str, float]
    """By step: decode, detect, cut, network, read off, write."""

    @property
    def network_share(self) -> float:
        """Share of the time spent in detector and pose network."""
        return (self.seconds["detect"] + self.seconds["network"]) / sum(self.seconds.values())


def measure_end_to_end(name: str, estimator: PoseEstimator, paths: Sequence[Path], threads: int) -> EndToEndTiming:
    """Time each step for images, one after another; `mspn predict` overlaps some of them.

    Args:
        name: of the network.
        estimator: detects people and estimates their poses.
        paths: of images.
        threads: number of torch's threads, for the record.

    Raises:
        ImageError: for an image that cannot be read.
    """
    _time_steps(estimator, paths[:1])  # warm-up: one-time costs are not measured
    seconds, people = _time_steps(estimator, paths)
    return EndToEndTiming(name, estimator.engine, estimator.precision, threads, len(paths), people, seconds)


def _time_steps(estimator: PoseEstimator, paths: Sequence[Path]) -> tuple[dict[str, float], int]:
    seconds = dict.fromkeys(("decode", "detect", "cut", "network", "read off", "write"), 0.0)
    last = time.perf_counter()

    def record(step: str) -> None:
        nonlocal last
        end = time.perf_counter()
        seconds[step] += end - last
        last = end

    people = 0
    with TemporaryDirectory() as folder:
        with closing(JsonWriter(Path(folder))) as writer:
            for path in paths:
                image = Image(str(path), read_image(path))
                record("decode")
                detections = estimator.top_down.detect(image)
                record("detect")
                person_crops = [estimator.top_down.crop(image, detection) for detection in detections]
                record("cut")
                poses = []
                if person_crops:
                    heatmaps = estimator.top_down.predict_heatmaps(person_crops)
                    record("network")
                    poses = estimator.top_down.select(estimator.top_down.decode(person_crops, heatmaps))
                    record("read off")
                writer.write(ImageResult(image.source, image, poses, []))
                record("write")
                people += len(poses)
        record("write")
    return seconds, people


Clock = Callable[[], float]

_MATRIX_SIDE = 2048
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
    left, right = torch.randn(2, _MATRIX_SIDE, _MATRIX_SIDE).to(dtype)
    return _MATRIX_SIDE**3 / 1e9 / _fastest(lambda: left @ right, clock_for(threads))


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
