"""mspn evaluate: average precision, or the share of correct keypoints, on labeled people."""

import logging
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from mspn.cli.compare import show_comparison
from mspn.cli.errors import SOME_FAILED, fail, one_line_errors
from mspn.cli.malloc import keep_freed_memory
from mspn.cli.models.networks import load_with_test_settings
from mspn.cli.options import BatchOption, DeviceOption, FlipOption, PrecisionName, PrecisionOption, WeightsOption
from mspn.cli.progress import show_count
from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import Processes, joined_processes
from mspn.evaluation.evaluate import (
    WORST_FILE,
    percentage_of_model,
    percentage_of_results,
    precision_of_model,
    precision_of_results,
)
from mspn.evaluation.evaluation_set import Metric, default_metric
from mspn.evaluation.html_report import PAGE_FILE, write_page
from mspn.evaluation.metrics.coco_backends import Engine
from mspn.evaluation.metrics.pck import NOTHING_TO_FIND
from mspn.evaluation.report import REPORT_FILE, Report, write_report
from mspn.evaluation.submission import check_submission_name, submit_people
from mspn.io.files import prepare_folder
from mspn.predict.estimator import PoseEstimator


class ProtocolName(str, Enum):
    """Named test settings."""

    FAITHFUL = "faithful"
    MMPOSE = "mmpose"


class MetricName(str, Enum):
    """What is measured."""

    OKS = "oks"
    PCKH = "pckh"
    PCK = "pck"


class BoxSelectionName(str, Enum):
    """Which boxes of a file are used."""

    PEOPLE = "people"
    TOP_100 = "top-100"


class EngineName(str, Enum):
    """What computes average precision."""

    PYCOCOTOOLS = "pycocotools"
    HOTCOCO = "hotcoco"


def evaluate_command(
    reports: Annotated[list[Path] | None, typer.Argument(help="With --compare: report.json files.")] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="COCO keypoint file with the truth; for PCKh and PCK any labels.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="Name of a model, or a weights file. Given several times, they are averaged."),
    ] = None,
    weights: WeightsOption = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images.")] = None,
    results: Annotated[Path | None, typer.Option(help="Score this results file instead of a model.")] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="Detected boxes; without it the labeled ones, with score 1.")
    ] = None,
    box_selection: Annotated[
        BoxSelectionName,
        typer.Option(help="All people of --boxes, or those among the best 100 boxes of all categories (paper)."),
    ] = BoxSelectionName.PEOPLE,
    protocol: Annotated[
        ProtocolName | None, typer.Option(help="Padding, filter and decoder; without it those of the weights.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a switch of the protocol, e.g. test.blur_kernel=1."),
    ] = None,
    metric: Annotated[
        MetricName | None,
        typer.Option(
            help="Average precision (oks), PCKh or PCK; without it what is usual for the format of the labels."
        ),
    ] = None,
    head_boxes: Annotated[
        Path | None, typer.Option(help="MPII's head boxes for PCKh: HRNet's gt_valid.mat, or MPII's own .mat.")
    ] = None,
    flip: FlipOption = None,
    engine: Annotated[
        EngineName, typer.Option(help="What computes AP; hotcoco is faster, with the same numbers.")
    ] = EngineName.PYCOCOTOOLS,
    submission: Annotated[
        Path | None,
        typer.Option(help="Zip to write for COCO's server, in place of a report; --annotations may name images only."),
    ] = None,
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
    """Measure average precision, or the share of correct keypoints, on labeled people; or compare reports.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m mspn evaluate ...
    """
    if compare:
        show_comparison(reports or [], annotations, across_protocols=across_protocols)
        return
    keep_freed_memory()
    with one_line_errors(), joined_processes() as processes:
        annotations = _need_annotations(annotations, is_comparing=bool(reports) or across_protocols)
        if not processes.is_first:
            logging.getLogger("mspn").setLevel(logging.WARNING)
        if out is not None:
            prepare_folder(out)
        _refuse_contradictions(models, images, results, submission)
        if results is not None:
            measured = _choose_metric(metric, annotations, head_boxes, boxes)
            report = None
            if processes.is_first:
                report = _score_file(results, annotations, images, measured, head_boxes, engine.value, out)
        else:
            assert models
            assert images is not None
            detected = _open_boxes(boxes, box_selection)
            estimator = PoseEstimator(
                load_with_test_settings(models, protocol.value if protocol else None, settings or []),
                "none",
                device=device,
                precision=precision.value,
                engine="auto" if precision is PrecisionName.INT8 else "torch",
                batch_size=batch,
                flip=flip,
                ensemble_weights=weights,
            )
            if submission is not None:
                _submit(estimator, annotations, images, detected, submission, processes)
                return
            measured = _choose_metric(metric, annotations, head_boxes, boxes)
            with show_count(processes) as show:
                if measured == "oks":
                    report = precision_of_model(
                        estimator,
                        models,
                        annotations,
                        images,
                        detected,
                        engine=engine.value,
                        out=out,
                        processes=processes,
                        report=show,
                    )
                else:
                    report = percentage_of_model(
                        estimator,
                        models,
                        annotations,
                        images,
                        metric=measured,
                        head_boxes=head_boxes,
                        out=out,
                        processes=processes,
                        report=show,
                    )
        if report is None:  # it is the first process's
            return
        if out is not None:
            write_report(out / REPORT_FILE, report)
            write_page(out / PAGE_FILE, report, out / WORST_FILE)
    _show(report)
    if out is not None:
        typer.echo(f"report: {out / REPORT_FILE}, {out / PAGE_FILE}")
    _end(report.protocol.failed)


def _need_annotations(annotations: Path | None, *, is_comparing: bool) -> Path:
    if is_comparing:
        fail("reports and --across-protocols go with --compare")
    if annotations is None:
        fail("give --annotations, the labels to measure against, or --compare reports")
    return annotations


def _refuse_contradictions(
    models: list[str] | None, images: Path | None, results: Path | None, submission: Path | None
) -> None:
    if results is not None and models:
        fail("give --model to test a network or --results to score a file, not both")
    if results is not None and submission is not None:
        fail("--submission is of a network: give --model, --images and --boxes")
    if results is None and (not models or images is None):
        fail("give --model and --images, or --results to score a results file")


def _choose_metric(metric: MetricName | None, annotations: Path, head_boxes: Path | None, boxes: Path | None) -> Metric:
    measured = metric.value if metric else default_metric(annotations)
    if measured != "pckh" and head_boxes is not None:
        fail("--head-boxes is for --metric pckh")
    if measured != "oks" and boxes is not None:
        fail(f"{measured} is measured in the labeled boxes; leave --boxes out, or take --metric oks")
    return measured


def _score_file(
    results: Path,
    annotations: Path,
    images: Path | None,
    metric: Metric,
    head_boxes: Path | None,
    engine: Engine,
    out: Path | None,
) -> Report:
    if metric == "oks":
        return precision_of_results(results, annotations, engine=engine, images=images, out=out)
    return percentage_of_results(results, annotations, metric=metric, head_boxes=head_boxes)


def _open_boxes(path: Path | None, rule: BoxSelectionName) -> BoxesFile | None:
    if path is None and rule is not BoxSelectionName.PEOPLE:
        fail(f"--box-selection {rule.value} is about --boxes, which is not given")
    return BoxesFile(path, rule.value) if path else None


def _submit(
    estimator: PoseEstimator,
    annotations: Path,
    images: Path,
    boxes: BoxesFile | None,
    submission: Path,
    processes: Processes,
) -> None:
    if boxes is None:
        fail("--submission needs --boxes: the server's images have no labeled boxes")
    check_submission_name(submission)
    with show_count(processes) as show:
        predictions = submit_people(estimator, annotations, images, boxes, submission, processes, show)
    if processes.is_first:
        typer.echo(f"submission: {submission} ({len(predictions.rows)} people)")
        _end(predictions.failed)


def _end(failed: int) -> None:
    if failed:
        typer.echo(f"{failed} images or boxes could not be used, see above", err=True)
        raise typer.Exit(SOME_FAILED)


def _show(report: Report) -> None:
    if report.table is not None:
        show_percentage(report, report.table)
    else:
        _show_stats(report.stats)
    for member in report.ensemble:
        height, width = member.input_size
        typer.echo(f"averaged: {member.model}, {height}x{width}, weight {member.weight:g}")
    for reason in report.reasons:
        typer.echo(f"why: {reason}")
    protocol = report.protocol
    if protocol.split is not None:
        typer.echo(f"images: COCO's {protocol.split}")
    rule = f", rule {protocol.box_selection}" if protocol.box_selection else ""
    typer.echo(f"boxes: {protocol.boxes} ({protocol.num_boxes}{rule})")
    if report.boxes_average_precision is not None:
        typer.echo(f"the boxes' own AP: {report.boxes_average_precision:.3f}")
    if protocol.test is not None:
        typer.echo("protocol: " + ", ".join(f"{name} {value}" for name, value in protocol.test.model_dump().items()))


def _show_stats(stats: dict[str, float]) -> None:
    table = Table(*stats, box=SIMPLE, padding=0, collapse_padding=True)
    table.add_row(*(f"{value:.3f}" for value in stats.values()))
    Console().print(table)


def show_percentage(report: Report, table: dict[str, float]) -> None:
    """Print the table of parts in percent, as papers do, and whom and what it is of."""
    columns = table | report.stats
    drawn = Table(*(Column(name, justify="right") for name in columns), box=SIMPLE, padding=0, collapse_padding=True)
    drawn.add_row(*("-" if value == NOTHING_TO_FIND else f"{100 * value:.1f}" for value in columns.values()))
    Console().print(drawn)
    protocol = report.protocol
    typer.echo(f"{protocol.metric}, percent; {protocol.num_people} people, {len(protocol.keypoints or ())} keypoints")
