"""mspn evaluate: COCO's average precision of a network, or of any system's results file."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mspn.cli.errors import SOME_FAILED, fail, one_line_errors
from mspn.cli.evaluate_compare import show_comparison
from mspn.cli.options import BatchOption, DeviceOption, FlipOption, PrecisionName, PrecisionOption
from mspn.cli.pull import find_with_bar
from mspn.config import PROTOCOLS
from mspn.data.coco import CocoPeople
from mspn.evaluate.average_precision import average_precision, read_results, read_truth
from mspn.evaluate.evaluator import Predictions, predict_people
from mspn.evaluate.explain import WORST_FILE, explain
from mspn.evaluate.page import PAGE_FILE, write_page
from mspn.evaluate.report import REPORT_FILE, RESULTS_FILE, Protocol, Report, write_report, write_results
from mspn.files import prepare_folder
from mspn.model.cost import count_cost
from mspn.predict.estimator import PoseEstimator
from mspn.skeleton import COCO_17
from mspn.weights.download import sha256_of


class ProtocolName(str, Enum):
    """Named test settings."""

    FAITHFUL = "faithful"
    MMPOSE = "mmpose"


def evaluate_command(
    reports: Annotated[list[Path] | None, typer.Argument(help="With --compare: report.json files.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="COCO keypoint file with the truth.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of a model, or a weights file.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures.")] = None,
    results: Annotated[Path | None, typer.Option(help="Score this COCO results file instead of a model.")] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="Detected boxes; without it the labelled ones, with score 1.")
    ] = None,
    protocol: Annotated[
        ProtocolName | None, typer.Option(help="Padding, filter and decoder; without it those of the weights.")
    ] = None,
    flip: FlipOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, report.json and results.json.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Rank reports of the same protocol instead; see docs/evaluation.md.")
    ] = False,
    across_protocols: Annotated[
        bool, typer.Option("--across-protocols", help="With --compare: show what cannot be ranked side by side.")
    ] = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.FLOAT32,
    batch: BatchOption = 32,
) -> None:
    """Measure average precision on labelled people, or compare reports."""
    if compare:
        show_comparison(reports or [], annotations, across_protocols=across_protocols)
        return
    with one_line_errors():
        if reports or across_protocols:
            fail("reports and --across-protocols go with --compare")
        if annotations is None:
            fail("give --annotations, the labels to measure against, or --compare reports")
        if out is not None:
            prepare_folder(out)
        if results is not None:
            if model is not None:
                fail("give --model to test a network or --results to score a file, not both")
            report = _score_file(results, annotations, images, out)
        elif model is None or images is None:
            fail("give --model and --images, or --results to score a results file")
        else:
            test = PROTOCOLS[protocol.value] if protocol else None
            estimator = PoseEstimator(
                find_with_bar(model), device=device, precision=precision.value, batch_size=batch, flip=flip, test=test
            )
            report = _test_model(estimator, model, annotations, images, boxes, out)
        if out is not None:
            write_report(out / REPORT_FILE, report)
            write_page(out / PAGE_FILE, report, out / WORST_FILE)
    _show(report)
    if out is not None:
        typer.echo(f"report: {out / REPORT_FILE}, {out / PAGE_FILE}")
    if report.protocol.failed:
        typer.echo(f"{report.protocol.failed} pictures or boxes could not be used, see above", err=True)
        raise typer.Exit(SOME_FAILED)


def _score_file(results: Path, annotations: Path, images: Path | None, out: Path | None) -> Report:
    truth = read_truth(annotations, COCO_17)
    rows = read_results(results, COCO_17)
    if out is not None:
        write_results(out / RESULTS_FILE, rows)
    report = Report(
        model=str(results),
        stats=average_precision(truth, rows, COCO_17),
        protocol=Protocol(
            annotations=str(annotations),
            annotations_sha256=sha256_of(annotations),
            boxes=f"results file {results}",
            num_boxes=len(rows),
        ),
    )
    return explain(report, truth, rows, COCO_17, images=images, out=out) if out is not None else report


def _test_model(
    estimator: PoseEstimator, model: str, annotations: Path, images: Path, boxes: Path | None, out: Path | None
) -> Report:
    skeleton = estimator.recipe.keypoint_table
    truth = read_truth(annotations, skeleton)
    predictions = _predict(estimator, truth, images, boxes)
    if out is not None:  # before scoring, which may fail
        write_results(out / RESULTS_FILE, predictions.rows)
    report = Report(
        model=model,
        stats=average_precision(truth, predictions.rows, skeleton),
        gmacs=count_cost(estimator.recipe.model).total.gmacs_inference,
        protocol=Protocol(
            annotations=str(annotations),
            annotations_sha256=sha256_of(annotations),
            skeleton=estimator.recipe.skeleton,
            boxes=str(boxes) if boxes else "ground truth",
            boxes_sha256=sha256_of(boxes) if boxes else None,
            num_boxes=predictions.num_boxes,
            failed=predictions.failed,
            test=estimator.test,
            input_size=estimator.recipe.model.input_size,
            precision=estimator.precision,
        ),
    )
    return explain(report, truth, predictions.rows, skeleton, images=images, out=out) if out is not None else report


def _predict(estimator: PoseEstimator, truth: CocoPeople, images: Path, boxes: Path | None) -> Predictions:
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("estimating", total=None)
        return predict_people(
            estimator, truth, images, boxes, lambda done, total: bar.update(task, completed=done, total=total)
        )


def _show(report: Report) -> None:
    table = Table(*report.stats, box=SIMPLE, padding=0, collapse_padding=True)
    table.add_row(*(f"{value:.3f}" for value in report.stats.values()))
    Console().print(table)
    protocol = report.protocol
    typer.echo(f"boxes: {protocol.boxes} ({protocol.num_boxes})")
    if protocol.test is not None:
        typer.echo("protocol: " + ", ".join(f"{name} {value}" for name, value in protocol.test.model_dump().items()))
