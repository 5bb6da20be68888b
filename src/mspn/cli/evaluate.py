"""mspn evaluate: average precision, or the share of correct keypoints, on labeled people."""

import logging
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.box import SIMPLE
from rich.table import Column, Table

from mspn.cli.data import AllowOutsideOption, CategoryOption
from mspn.cli.options import (
    BatchOption,
    BoxSelectionName,
    BoxSelectionOption,
    DeviceOption,
    FlipOption,
    PrecisionName,
    PrecisionOption,
    ProtocolName,
    ProtocolOption,
    ProtocolSettingsOption,
    WeightsOption,
    load_with_test_settings,
    refuse_unused,
)
from mspn.cli.printing import SOME_FAILED, SafeConsole, echo, fail, one_line_errors
from mspn.cli.progress import show_count
from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import Processes, joined_processes
from mspn.evaluation.evaluate import (
    evaluate_ap_of_model,
    evaluate_ap_of_results,
    evaluate_pck_of_model,
    evaluate_pck_of_results,
)
from mspn.evaluation.evaluation_set import Metric, default_metric
from mspn.evaluation.html_report import PAGE_FILE, WORST_FILE, write_page
from mspn.evaluation.pck import UNDEFINED_SHARE
from mspn.evaluation.report import REPORT_FILE, Report, write_report
from mspn.evaluation.tracks import TrackingScores, evaluate_tracks
from mspn.inference.devices import keep_freed_memory
from mspn.io.files import prepare_folder
from mspn.predict.estimator import PoseEstimator
from mspn.reporting import optional_output


class MetricName(str, Enum):
    """What is measured."""

    OKS = "oks"
    PCKH = "pckh"
    PCK = "pck"


class CocoBackendName(str, Enum):
    """What computes average precision."""

    PYCOCOTOOLS = "pycocotools"
    HOTCOCO = "hotcoco"


def evaluate_command(
    context: typer.Context,
    annotations: Annotated[Path, typer.Option(help="COCO keypoint file; for PCKh and PCK labels of any format.")],
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
    box_selection: BoxSelectionOption = BoxSelectionName.PEOPLE,
    protocol: ProtocolOption = None,
    settings: ProtocolSettingsOption = None,
    metric: Annotated[
        MetricName | None,
        typer.Option(
            help="Average precision (oks), PCKh or PCK; without it what is usual for the format of the labels."
        ),
    ] = None,
    head_boxes: Annotated[
        Path | None, typer.Option(help="MPII's head boxes for PCKh: HRNet's gt_valid.mat, or MPII's own .mat.")
    ] = None,
    tracks: Annotated[
        bool,
        typer.Option(
            "--tracks", help="Measure HOTA, IDF1 and MOTA of --results of videos; labels of MOT or PoseTrack."
        ),
    ] = False,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
    flip: FlipOption = None,
    engine: Annotated[
        CocoBackendName, typer.Option(help="What computes AP; hotcoco is faster, with the same numbers.")
    ] = CocoBackendName.PYCOCOTOOLS,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, report.json and results.json.")] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.FLOAT32,
    batch: BatchOption = 32,
) -> None:
    """Measure average precision, or the share of correct keypoints, on labeled people.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m mspn evaluate ...
    """
    keep_freed_memory()
    if tracks:
        _evaluate_tracks(context, results, annotations)
        return
    with one_line_errors(), joined_processes() as processes:
        quiet_followers(processes)
        if results is None and (not models or images is None):
            fail("give --model and --images, or --results to score a results file")
        chosen_metric: Metric = metric.value if metric else default_metric(annotations)
        _refuse_unused_options(context, chosen_metric)
        if out is not None:
            prepare_folder(out)
        report: Report | None = None
        if results is not None:
            if processes.is_first:
                report = _score_results(
                    results,
                    annotations,
                    chosen_metric,
                    engine=engine.value,
                    images=images,
                    head_boxes=head_boxes,
                    category=category,
                    allow_outside=allow_outside,
                    out=out,
                )
        else:
            assert models
            assert images is not None
            estimator = make_estimator(models, weights, protocol, settings, device, precision, batch, flip)
            whose = category or estimator.recipe.keypoint_table.category_of_boxes
            detections = BoxesFile(boxes, box_selection.value, whose) if boxes else None
            with show_count(is_shown=processes.is_first) as show:
                if chosen_metric == "oks":
                    report = evaluate_ap_of_model(
                        estimator,
                        models,
                        annotations,
                        images,
                        detections,
                        engine=engine.value,
                        category=category,
                        allow_outside=allow_outside,
                        out=out,
                        processes=processes,
                        report=show,
                    )
                else:
                    report = evaluate_pck_of_model(
                        estimator,
                        models,
                        annotations,
                        images,
                        metric=chosen_metric,
                        head_boxes=head_boxes,
                        allow_outside=allow_outside,
                        out=out,
                        processes=processes,
                        report=show,
                    )
        if report is None:  # only the first process has it
            return
        if out is not None:
            write_report(out / REPORT_FILE, report)
            with optional_output(PAGE_FILE):
                write_page(out / PAGE_FILE, report, out / WORST_FILE)
    show_report(report)
    if out is not None:
        echo(f"report: {out / REPORT_FILE}, {out / PAGE_FILE}")
    exit_if_failed(report.protocol.failed)


def _score_results(
    results: Path,
    annotations: Path,
    metric: Metric,
    *,
    engine: Literal["pycocotools", "hotcoco"],
    images: Path | None,
    head_boxes: Path | None,
    category: str | None,
    allow_outside: bool,
    out: Path | None,
) -> Report:
    if metric != "oks":
        return evaluate_pck_of_results(results, annotations, metric=metric, head_boxes=head_boxes)
    return evaluate_ap_of_results(
        results, annotations, engine=engine, images=images, category=category, allow_outside=allow_outside, out=out
    )


def quiet_followers(processes: Processes) -> None:
    """Of several processes, only the first one logs what is no warning."""
    if not processes.is_first:
        logging.getLogger("mspn").setLevel(logging.WARNING)


def make_estimator(
    models: Sequence[str],
    weights: Sequence[float] | None,
    protocol: ProtocolName | None,
    settings: Sequence[str] | None,
    device: str,
    precision: PrecisionName,
    batch_size: int,
    flip: bool | None,
) -> PoseEstimator:
    """The networks of the command line with their protocol, and no detector."""
    return PoseEstimator(
        load_with_test_settings(models, protocol.value if protocol else None, settings or [], precision.value),
        "none",
        device=device,
        precision=precision.value,
        batch_size=batch_size,
        flip=flip,
        ensemble_weights=weights,
    )


def exit_if_failed(num_failed: int) -> None:
    """End with exit code 1 if images or boxes could not be used."""
    if num_failed:
        echo(f"{num_failed} images or boxes could not be used, see above", err=True)
        raise typer.Exit(SOME_FAILED)


_NETWORK_OPTIONS = (
    *("models", "weights", "boxes", "box_selection", "protocol", "settings", "flip", "device", "precision", "batch"),
)
"""Parameters that only a network's evaluation uses."""


def _refuse_unused_options(context: typer.Context, metric: Metric) -> None:
    given = context.params
    if given["results"] is not None:
        refuse_unused(context, _NETWORK_OPTIONS, "is about a network; --results scores a file")
    if metric != "pckh":
        refuse_unused(context, ["head_boxes"], "is for --metric pckh")
    if metric != "oks":
        reason = f"is not used: {metric} is measured in the labeled boxes; leave it out, or take --metric oks"
        refuse_unused(context, ["boxes", "box_selection"], reason)
        refuse_unused(context, ["category"], f"chooses among COCO's categories; {metric} reads everyone")
        refuse_unused(context, ["engine"], f"computes average precision; {metric} does not use it")
    if given["boxes"] is None:
        refuse_unused(context, ["box_selection"], "is about --boxes, which is not given")
    if given["results"] is not None and (metric != "oks" or given["out"] is None):
        reason = "is not used: of a results file, images are for --out's worst.jpg of AP"
        refuse_unused(context, ["images", "allow_outside"], reason)


def _evaluate_tracks(context: typer.Context, results: Path | None, annotations: Path) -> None:
    used = {"annotations", "results", "tracks"}
    unused = {parameter.name or "" for parameter in context.command.params} - used
    refuse_unused(context, unused, "is not used with --tracks, which compares --results with labels")
    if results is None:
        fail("give --results to --tracks: what mspn predict wrote of the video")
    with one_line_errors():
        scores = evaluate_tracks(results, annotations)
    show_tracking(scores)


def show_report(report: Report) -> None:
    """Print the scores, and how they were measured."""
    if report.table is not None:
        _show_pck(report, report.table)
    else:
        _show_stats(report.stats)
    for member in report.ensemble:
        height, width = member.input_size
        echo(f"averaged: {member.model}, {height}x{width}, weight {member.weight:g}")
    for reason in report.reasons:
        echo(f"why: {reason}")
    protocol = report.protocol
    if protocol.split is not None:
        echo(f"images: COCO's {protocol.split}")
    rule = f", rule {protocol.box_selection}" if protocol.box_selection else ""
    echo(f"boxes: {protocol.boxes} ({protocol.num_boxes}{rule})")
    if report.boxes_average_precision is not None:
        echo(f"the boxes' own AP: {report.boxes_average_precision:.3f}")
    if protocol.test is not None:
        echo("protocol: " + ", ".join(f"{name} {value}" for name, value in protocol.test.model_dump().items()))


def show_tracking(scores: TrackingScores) -> None:
    """Print how well people were followed."""
    table = Table("HOTA", "DetA", "AssA", "IDF1", "MOTA", "switches", "labels", "found", box=SIMPLE, padding=0)
    shares = (scores.hota, scores.detection, scores.association, scores.idf1, scores.mota)
    counts = (scores.num_switches, scores.num_labels, scores.num_found)
    table.add_row(*(f"{value:.3f}" for value in shares), *map(str, counts))
    SafeConsole().print(table)


def _show_stats(stats: dict[str, float]) -> None:
    table = Table(*stats, box=SIMPLE, padding=0, collapse_padding=True)
    table.add_row(*(f"{value:.3f}" for value in stats.values()))
    SafeConsole().print(table)


def _show_pck(report: Report, table: dict[str, float]) -> None:
    """Print the table of body parts in percent, as papers do, and how many people and keypoints it is of."""
    columns = table | report.stats
    drawn = Table(*(Column(name, justify="right") for name in columns), box=SIMPLE, padding=0, collapse_padding=True)
    drawn.add_row(*("-" if value == UNDEFINED_SHARE else f"{100 * value:.1f}" for value in columns.values()))
    SafeConsole().print(drawn)
    protocol = report.protocol
    echo(f"{protocol.metric}, percent; {protocol.num_people} people, {len(protocol.keypoints or ())} keypoints")
