"""Measure a GPU in less than ten minutes: python -m benchmarks.gpu [--device cuda] [--out gpu.json]

Prints the rows of a table: the chip's ceilings (a large matrix product, and a network's convolutions each alone),
inference by precision and batch, with cuDNN's search for algorithms and as a CUDA graph, and training steps by
precision, compiled and not, beside a straightforward step in float32. Then torchrun trains drawn people in one process
a GPU with synchronized norms. `--device cpu --quick` runs all of it on a small network, to see that it works; it says
nothing about speed. `benchmarks/gpu.sh` runs it from a bare checkout.
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.training_step import draw_batch
from mspn.config.recipe import Recipe
from mspn.config.recipes import find_recipe
from mspn.datasets.samples import KeypointLabels, Sample
from mspn.inference.fold import find_unused, prepare
from mspn.models import build_network
from mspn.models.base import PoseNetwork, normalize, place
from mspn.models.cost import conv_multiply_adds
from mspn.training.losses import compute_losses
from mspn.training.train_step import TrainStep
from tests.drawn_people import write_drawn_set

_PRECISIONS = {"cuda": ("float32", "bfloat16", "float16"), "cpu": ("float32", "bfloat16")}
_MIN_SECONDS = 1.0
"""Each number is the median of calls that take so long together, five at least."""


class Row(NamedTuple):
    """One number of a table."""

    what: str
    model: str
    precision: str
    batch: int
    value: float
    unit: str
    share: float | None = None
    """Of the ceiling of the network's convolutions."""


def main() -> None:
    """Measure, print, and write the rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small networks and batches, to try the script")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    device = torch.device(options.device)
    models = ("study-mspn-1",) if options.quick else ("mspn-2", "mspn-small")
    batches = (1, 4) if options.quick else (1, 16, 64, 256)
    print(f"{_name(device)}, torch {torch.__version__}, CUDA {torch.version.cuda}\n")
    rows: list[Row] = []
    for table in (
        partial(measure_matrix_products, device, 256 if options.quick else 8192),
        *(partial(measure_inference, device, model, batches) for model in models),
        *(partial(measure_training, device, model, batches[1:3]) for model in models[:1]),
    ):
        for row in table():
            print(_format(row), flush=True)
            rows.append(row)
    options.out.write_text(json.dumps({"device": _name(device), "rows": [row._asdict() for row in rows]}, indent=1))
    train_by_torchrun(device)


def measure_matrix_products(device: torch.device, side: int) -> Iterator[Row]:
    """Billions of multiply-adds a second of a product of square matrices."""
    for precision in _PRECISIONS[device.type]:
        left, right = torch.randn(2, side, side, device=device).to(getattr(torch, precision))
        seconds = _median_seconds(lambda left=left, right=right: left @ right, device)  # type: ignore[misc]
        yield Row("matrix product", "", precision, side, side**3 / 1e9 / seconds, "Gmac/s")


@torch.inference_mode()
def measure_inference(device: torch.device, name: str, batches: Sequence[int]) -> Iterator[Row]:
    """Crops a second from uint8 crops on the device to its heat maps there."""
    network = build_network(find_recipe(name).model).eval()
    for precision in _PRECISIONS[device.type]:
        dtype: torch.dtype = getattr(torch, precision)
        prepared = prepare(network, device, dtype, unused=find_unused(network))
        for batch in batches:
            crops = torch.randint(0, 256, (batch, *network.config.input_size, 3), dtype=torch.uint8, device=device)
            ceiling = batch / _convolution_seconds(network, batch, device, dtype)

            def predict(crops: Tensor = crops, prepared: PoseNetwork = prepared, dtype: torch.dtype = dtype) -> Tensor:
                return prepared.final_heatmaps(normalize(crops).to(dtype)).float()

            with _cudnn_benchmark(enabled=False):
                rate = batch / _median_seconds(predict, device)
            yield Row("inference", name, precision, batch, rate, "crops/s", rate / ceiling)
            with _cudnn_benchmark(enabled=True):
                rate = batch / _median_seconds(predict, device)
                yield Row("inference, cudnn.benchmark", name, precision, batch, rate, "crops/s", rate / ceiling)
                if device.type == "cuda":
                    rate = batch / _median_seconds(_captured(predict), device)
                    yield Row("inference, CUDA graph", name, precision, batch, rate, "crops/s", rate / ceiling)


def measure_training(device: torch.device, name: str, batches: Sequence[int]) -> Iterator[Row]:
    """Crops a second of whole training steps."""
    recipe = find_recipe(name)
    for batch in batches:
        drawn = draw_batch(recipe, batch)
        labels = KeypointLabels(*(values.to(device) for values in drawn.labels))
        crops = drawn.crops.to(device)
        step = _straightforward_step(recipe, device)
        rate = batch / _median_seconds(partial(step, crops, labels), device)
        yield Row("straightforward training step", name, "float32", batch, rate, "crops/s")
        for precision in _PRECISIONS[device.type]:
            for compiled in (False, True) if device.type == "cuda" else (False,):
                config = recipe.train.model_copy(
                    update={"precision": precision, "compile": compiled, "batch_size": batch, "ema_decay": 0.999}
                )
                losses = partial(_losses, recipe)
                train_step = TrainStep(build_network(recipe.model), losses, config, device)
                whole = Sample(crops, labels, torch.arange(batch), torch.ones(batch, dtype=torch.bool))
                rate = batch / _median_seconds(lambda: train_step.step([whole], 1e-5), device)  # noqa: B023
                what = "training step, compiled" if compiled else "training step"
                yield Row(what, name, precision, batch, rate, "crops/s")


def train_by_torchrun(device: torch.device) -> None:
    """Train drawn people for a few iterations, in one process a GPU; raises if it fails."""
    count = max(torch.cuda.device_count(), 1) if device.type == "cuda" else 2
    norm = "synchronized" if device.type == "cuda" else "local"
    with tempfile.TemporaryDirectory() as folder:
        write_drawn_set(Path(folder), num_images=8 * count)
        sets = '{"annotations": "annotations.json", "images": "images"}'
        settings = (
            *(f"data.root={folder}", f"data.train=[{sets}]", "data.validation=null", f"train.norm={norm}"),
            *("train.iterations=5", f"train.batch_size={4 * count}", "train.warmup_iterations=2"),
            *("train.precision=bfloat16", "model.input_size=128x96", f"train.device={device.type}"),
        )
        started = time.perf_counter()
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        command += ["-m", "mspn", "train", "study-mspn-1", "--out", f"{folder}/run"]
        subprocess.run([*command, *(part for setting in settings for part in ("--set", setting))], check=True)
        print(f"\n{count} processes with {norm} norms trained 5 iterations in {time.perf_counter() - started:.0f} s")


def _straightforward_step(recipe: Recipe, device: torch.device) -> Callable[[Tensor, KeypointLabels], None]:
    """float32, channels first, Adam parameter by parameter."""
    network = build_network(recipe.model).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-5, foreach=False)

    def step(crops: Tensor, labels: KeypointLabels) -> None:
        optimizer.zero_grad()
        loss = _losses(recipe, network(normalize(crops).contiguous()), labels).total
        loss.backward()
        optimizer.step()

    return step


def _losses(recipe: Recipe, outputs: Any, labels: KeypointLabels) -> Any:
    return compute_losses(outputs, labels, recipe.supervision, recipe.keypoint_table.sigmas)


def _convolution_seconds(network: PoseNetwork, batch: int, device: torch.device, dtype: torch.dtype) -> float:
    """Time of a network's convolutions, each alone and repeated; equal ones are timed once."""
    cases: dict[tuple[str, torch.Size], nn.Module] = {}
    counts: Counter[tuple[str, torch.Size]] = Counter()

    def note(conv: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if conv_multiply_adds(conv, inputs[0], output):
            key = (repr(conv), inputs[0].shape[1:])
            cases[key] = conv
            counts[key] += 1

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    network.final_heatmaps(torch.zeros(1, 3, *network.config.input_size))
    for hook in hooks:
        hook.remove()
    total = 0.0
    with _cudnn_benchmark(enabled=True):
        for key, conv in cases.items():
            layer = place(copy.deepcopy(conv).to(dtype), device)
            images = torch.randn(batch, *key[1], device=device).to(dtype, memory_format=torch.channels_last)
            total += counts[key] * _median_seconds(partial(layer, images), device, _MIN_SECONDS / 20)
    return total


def _captured(predict: Callable[[], Tensor]) -> Callable[[], None]:
    """The same computation as a CUDA graph."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        predict()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        predict()
    return graph.replay


@contextmanager
def _cudnn_benchmark(*, enabled: bool) -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = enabled
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _median_seconds(run: Callable[[], Any], device: torch.device, min_seconds: float = _MIN_SECONDS) -> float:
    for _ in range(3):
        run()
    durations: list[float] = []
    while len(durations) < 5 or sum(durations) < min_seconds:
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _format(row: Row) -> str:
    share = "" if row.share is None else f"{100 * row.share:.0f} %"
    return f"| {row.what} | {row.model} | {row.precision} | {row.batch} | {row.value:.0f} {row.unit} | {share} |"


if __name__ == "__main__":
    main()
