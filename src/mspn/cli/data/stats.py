"""mspn data stats: count images, people and keypoints."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Column, Table

from mspn.cli.data.options import (
    AllowOutsideOption,
    CategoryOption,
    FormatOption,
    LabelsArgument,
    SkeletonOption,
    WorkersOption,
    read_set,
    scan_with_bar,
)
from mspn.cli.printing import SafeConsole, echo, one_line_errors
from mspn.io.files import write_text
from mspn.labels.label_table import PERCENTILES, LabelStatistics, count_labels

_PERCENTILE_NAMES = {0: "least", 50: "median", 100: "most"}


def stats_command(
    labels: LabelsArgument,
    images: Annotated[Path | None, typer.Option(help="Folder of the images, to measure their true sizes.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the numbers.")] = None,
    workers: WorkersOption = 4,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Count images, people and keypoints."""
    with one_line_errors():
        labeled = read_set(labels, from_format, skeleton, category, allow_outside=allow_outside or images is None)
        files = [] if images is None else scan_with_bar(labeled, images, workers)
        sizes = {file.image.id: file.size for file in files if file.size is not None}
        statistics = count_labels(labeled, sizes)
        if json_file is not None:
            write_text(json_file, json.dumps({"percentiles": PERCENTILES, **asdict(statistics)}, indent=1) + "\n")
    echo(
        f"{statistics.images} images ({statistics.images_without_people} without people),"
        f" {statistics.people} people, {statistics.crowds} crowds"
    )
    for table in (_distributions(statistics), _keypoints(statistics), _counts(statistics)):
        SafeConsole().print(table)


def _distributions(statistics: LabelStatistics) -> Table:
    names = [_PERCENTILE_NAMES.get(percentile, f"{percentile} %") for percentile in PERCENTILES]
    table = Table("", *(Column(name, justify="right") for name in names), box=SIMPLE)
    for name, values in (
        ("people in an image", statistics.people_per_image),
        ("keypoints of a person", statistics.keypoints_per_person),
        ("box height, px", statistics.box_heights_px),
        ("image width, px", statistics.image_widths_px),
        ("image height, px", statistics.image_heights_px),
    ):
        table.add_row(name, *(f"{value:g}" for value in values))
    return table


def _keypoints(statistics: LabelStatistics) -> Table:
    columns = [Column(name, justify="right") for name in ("visible", "occluded", "unlabeled")]
    table = Table("keypoint", *columns, box=SIMPLE)
    for name, count in statistics.keypoints.items():
        cells = (count.visible, count.occluded, count.unlabeled)
        table.add_row(escape(name), *(_with_share(cell, statistics.people) for cell in cells))
    return table


def _counts(statistics: LabelStatistics) -> Table:
    table = Table(Column("keypoints", justify="right"), Column("people", justify="right"), box=SIMPLE)
    for number, people in enumerate(statistics.people_with_keypoints):
        if people:
            table.add_row(str(number), _with_share(people, statistics.people))
    return table


def _with_share(count: int, people: int) -> str:
    return f"{count:,} ({count / max(people, 1):4.0%})"
