"""mspn bench: how fast networks are on this machine, and how fast they could be."""

from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.box import SIMPLE
from rich.table import Table

from mspn.benchmark.report import CHART_FILE, JSON_FILE, BenchReport, make_report, write_report
from mspn.benchmark.throughput import (
    REFERENCE,
    EndToEndTiming,
    Rate,
    Setup,
    UpperBound,
    measure_end_to_end,
    measure_matrix_product,
    measure_rates,
    measure_upper_bound,
)
from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.hub import find_weights
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.cli.options import EngineName, PrecisionName
from mspn.cli.printing import SafeConsole, echo, fail, one_line_errors
from mspn.config.recipes import find_recipe
from mspn.inference.devices import Engine, Precision, choose_precision
from mspn.inference.engines import EngineChoice, choose_engine
from mspn.inference.exported import ExportedModel, load_pose_model
from mspn.io.files import prepare_folder
from mspn.io.images import IMAGE_SUFFIXES
from mspn.models import build_network
from mspn.models.base import PoseNetwork
from mspn.predict.estimator import PoseEstimator

_CPU = torch.device("cpu")


def bench_command(
    models: Annotated[list[str], typer.Option("--model", help="Name or weights file; several are timed in turns.")] = [  # noqa: B006 (typer copies it)
        "default"
    ],
    engines: Annotated[
        list[EngineName] | None, typer.Option("--engine", help="Engines to time; by default all that are installed.")
    ] = None,
    precisions: Annotated[
        list[PrecisionName] | None,
        typer.Option("--precision", help="Precisions to time; by default float32, and bfloat16 where it pays."),
    ] = None,
    batches: Annotated[list[int], typer.Option("--batch", min=1, help="Crops at once; may be given several times.")] = [  # noqa: B006
        1,
        16,
    ],
    threads: Annotated[list[int], typer.Option(min=1, help="CPU threads; may be given several times.")] = [1],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="Timed runs of each; the median counts.")] = 7,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Time untrained networks, by the name of their recipe.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option(help="Folder of images: where the time goes from file to keypoints.")
    ] = None,
    out: Annotated[Path, typer.Option(help=f"Folder for {JSON_FILE} and {CHART_FILE}.")] = Path("bench"),
) -> None:
    """Measure how fast networks are on this CPU, and how fast they could be."""
    with one_line_errors():
        checkpoints = {
            name: _untrained(name) if random_weights else load_pose_model(find_weights(name)) for name in models
        }
        networks = {name: model.model.eval() for name, model in checkpoints.items() if isinstance(model, Checkpoint)}
        exported = {name: model.network for name, model in checkpoints.items() if isinstance(model, ExportedModel)}
        chosen = _choose(engines, precisions)
        photos = _find_images(images)
        prepare_folder(out)
        setups = [
            Setup(name, engine, precision, number)
            for name, number in product(networks, threads)
            for engine, precision in [(REFERENCE, "float32"), *chosen]
        ]
        setups += [
            Setup(name, network.engine, network.precision, number)
            for (name, network), number in product(exported.items(), threads)
        ]
        rates = measure_rates({**networks, **exported}, setups, batches, rounds)
        end_to_end = [
            _time_end_to_end(name, checkpoint, photos, number)
            for (name, checkpoint), number in product(checkpoints.items(), threads)
            if images
        ]
        report = make_report(_measure_upper_bounds(networks, chosen, batches, threads), rates, end_to_end)
        written = write_report(report, out)
    _show(report)
    echo(f"results: {', '.join(map(str, written))}")


def _untrained(name: str) -> Checkpoint:
    recipe = find_recipe(name)
    return Checkpoint(CheckpointMetadata(recipe=recipe), build_network(recipe.model))


def _choose(engines: list[EngineName] | None, precisions: list[PrecisionName] | None) -> list[EngineChoice]:
    """Engines, each with the precisions that it has."""
    wanted: list[Precision] = [
        precision.value for precision in precisions or (PrecisionName.FLOAT32, PrecisionName.AUTO)
    ]
    if engines:
        named: list[Engine] = [engine.value for engine in engines]
        return list(
            dict.fromkeys(choose_engine(engine, precision, _CPU) for engine, precision in product(named, wanted))
        )
    wanted = [choose_precision(precision, _CPU) for precision in wanted]
    chosen = [choose_engine("torch", precision, _CPU) for precision in wanted if precision != "int8"]
    if find_spec("onnx"):
        if find_spec("onnxruntime"):
            supported = [precision for precision in wanted if precision != "bfloat16"]
            chosen += [choose_engine("onnxruntime", precision, _CPU) for precision in supported]
        if find_spec("openvino"):
            chosen += [choose_engine("openvino", precision, _CPU) for precision in wanted]
    return list(dict.fromkeys(chosen))


def _find_images(images: Path | None) -> list[Path]:
    if images is None:
        return []
    paths = [path for path in sorted(images.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        fail(f"--images {images}: no images are there; give a folder of them")
    return paths


def _time_end_to_end(
    name: str, checkpoint: Checkpoint | ExportedModel, images: list[Path], threads: int
) -> EndToEndTiming:
    torch.set_num_threads(threads)
    return measure_end_to_end(name, PoseEstimator(checkpoint, device="cpu"), images, threads)


def _measure_upper_bounds(
    networks: dict[str, PoseNetwork], chosen: list[EngineChoice], batches: list[int], threads: list[int]
) -> list[UpperBound]:
    upper_bounds = []
    for precision, number in product(sorted({choice.precision for choice in chosen} - {"int8"}), threads):
        gmacs_per_second = measure_matrix_product(precision, number)
        for (name, network), batch in product(networks.items(), batches):
            upper_bounds.append(measure_upper_bound(name, network, precision, batch, number, gmacs_per_second))
    return upper_bounds


def _show(report: BenchReport) -> None:
    for model, threads, batch in dict.fromkeys((rate.model, rate.threads, rate.batch) for rate in report.rates):
        title = f"{model}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
        table = Table("", "precision", "crops/s", "gain", "of limit", "error", "start", "MiB", title=title, box=SIMPLE)
        for rate in report.rates:
            if (rate.model, rate.threads, rate.batch) == (model, threads, batch):
                table.add_row(*_describe(rate, report))
        for bound in report.upper_bounds:
            if (bound.model, bound.threads, bound.batch) == (model, threads, batch):
                table.add_row("matrix limit", bound.precision, f"{bound.matrix_crops_per_second:.1f}")
                table.add_row("conv. limit", bound.precision, f"{bound.convolution_crops_per_second:.1f}")
        SafeConsole().print(table)
    for timing in report.end_to_end:
        steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in timing.seconds.items())
        echo(
            f"{timing.model}, {timing.engine}, {timing.precision}, threads: {timing.threads}; {timing.images}"
            f" images, {timing.people} people: {steps}; the networks have {timing.network_share:.0%}"
        )
    echo(f"on {report.machine}, torch {report.torch}")


def _describe(rate: Rate, report: BenchReport) -> tuple[str, ...]:
    gain, share = report.gain_of(rate), report.share_of(rate)
    return (
        rate.engine,
        rate.precision,
        f"{rate.crops_per_second:.1f}",
        "-" if gain is None else f"{gain:.2f}x",
        "-" if share is None else f"{share:.0%}",
        "-" if rate.error is None else f"{rate.error:.1e}",
        f"{rate.start_seconds:.1f} s",
        "-" if rate.memory_mib is None else f"{rate.memory_mib:.0f}",
    )
