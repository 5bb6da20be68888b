"""mspn compare, merge and submit: reports side by side, the results of several runs as one, a zip for COCO's server."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from mspn.cli.evaluate import exit_if_failed, make_estimator, quiet_followers
from mspn.cli.options import (
    BatchOption,
    BoxSelectionName,
    BoxSelectionOption,
    DeviceOption,
    FlipOption,
    ImageIdsOption,
    ModelsOption,
    OverwriteOption,
    PrecisionName,
    PrecisionOption,
    ProtocolOption,
    ProtocolSettingsOption,
    WeightsOption,
    parse_writers,
)
from mspn.cli.printing import SOME_FAILED, SafeConsole, echo, one_line_errors
from mspn.cli.progress import show_count
from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import joined_processes
from mspn.evaluation.report import Comparison, compare_reports
from mspn.evaluation.submission import check_submission_name, submit_people
from mspn.inference.devices import keep_freed_memory
from mspn.outputs import WRITERS, merge_results
from mspn.outputs.annotations import read_image_ids


def compare_command(
    reports: Annotated[list[Path], typer.Argument(help="report.json files of `mspn evaluate --out`, two or more.")],
    annotations: Annotated[
        Path | None, typer.Option(help="The labels, where they are not at the path in the reports.")
    ] = None,
    across_protocols: Annotated[
        bool, typer.Option("--across-protocols", help="Show reports that cannot be ranked side by side.")
    ] = False,
) -> None:
    """Rank reports of the same protocol, after computing their numbers again."""
    with one_line_errors():
        comparison = compare_reports(reports, annotations=annotations, across_protocols=across_protocols)
    for objection in comparison.objections:
        echo(f"not ranked: {objection}", err=True)
    SafeConsole().print(_tabulate(comparison))


def _tabulate(comparison: Comparison) -> Table:
    """The reports' numbers, with differences to the first report."""
    first, *following = comparison.reports
    heads = []
    for number, compared in enumerate(comparison.reports, start=1):
        rank = "" if comparison.objections else f"{number}. "
        heads.append(f"{rank}{compared.path.parent.name}\n{compared.report.model}")
    table = Table("", *heads, box=SIMPLE)
    names = dict.fromkeys(name for compared in comparison.reports for name in compared.report.stats)
    for name in names:
        base = first.report.stats.get(name)
        cells = ["-" if base is None else f"{base:.3f}"]
        for compared in following:
            value = compared.report.stats.get(name)
            difference = "" if value is None or base is None else f" {value - base:+.3f}"
            cells.append("-" if value is None else f"{value:.3f}{difference}")
        table.add_row(name, *cells)
    return table


def merge_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `mspn predict` has written.")],
    out: Annotated[Path, typer.Option(help="Folder for the joint results.")],
    save: Annotated[
        str | None, typer.Option(help=f"What to write, of {','.join(WRITERS)}; by default all that the runs wrote.")
    ] = None,
    annotations: ImageIdsOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Join the results of several runs, such as shards of one."""
    with one_line_errors():
        outputs = parse_writers(save) if save else ()
        image_ids = read_image_ids(annotations) if annotations else None
        missing = merge_results(folders, out, outputs, image_ids, overwrite=overwrite)
    echo(f"results: {out}")
    if missing:
        names = ", ".join(map(str, missing))
        echo(f"missing: {names}; predict what is missing and join all shards again", err=True)
        raise typer.Exit(SOME_FAILED)


def submit_command(
    models: ModelsOption,
    annotations: Annotated[Path, typer.Option(help="COCO file that names the images, image_info_*.json.")],
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    boxes: Annotated[Path, typer.Option(help="Detected boxes: the server's images have no labeled ones.")],
    out: Annotated[Path, typer.Option(help="Zip to write, person_keypoints_SPLIT_NAME_results.zip.")],
    weights: WeightsOption = None,
    box_selection: BoxSelectionOption = BoxSelectionName.PEOPLE,
    protocol: ProtocolOption = None,
    settings: ProtocolSettingsOption = None,
    flip: FlipOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.FLOAT32,
    batch: BatchOption = 32,
) -> None:
    """Predict everyone in the images of a COCO split and write the zip for COCO's server.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m mspn submit ...
    """
    keep_freed_memory()
    with one_line_errors(), joined_processes() as processes:
        quiet_followers(processes)
        check_submission_name(out)
        detected = BoxesFile(boxes, box_selection.value)
        estimator = make_estimator(models, weights, protocol, settings, device, precision, batch, flip)
        with show_count(is_shown=processes.is_first) as show:
            predictions = submit_people(estimator, annotations, images, detected, out, processes, show)
        if not processes.is_first:
            return
    echo(f"submission: {out} ({len(predictions.rows)} people)")
    exit_if_failed(predictions.failed)
