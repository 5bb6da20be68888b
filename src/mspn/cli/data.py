"""mspn data check, stats, convert and split, which need no torch; and what the commands of `mspn data` share."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from mspn.cli.printing import SOME_FAILED, SafeConsole, echo, fail, one_line_errors
from mspn.config.data import named_skeleton
from mspn.errors import InvalidValueError, MissingFileError
from mspn.io.files import prepare_folder, write_text
from mspn.labels.checks import ImageFile, check_labels, scan_images
from mspn.labels.formats import FORMATS, read_labels, write_labels
from mspn.labels.formats.coco import write_coco
from mspn.labels.label_set import LabeledSet, split_by_image, with_sizes
from mspn.labels.label_table import KINDS, PERCENTILES, Finding, LabelStatistics, Severity, count_labels, order_findings

LabelsArgument = Annotated[Path, typer.Argument(help="Label file, or folder where the format is one.")]
FormatOption = Annotated[
    str | None, typer.Option("--from", help=f"Format of the labels, else told from them: {', '.join(FORMATS)}.")
]
SkeletonOption = Annotated[
    str | None, typer.Option(help="Name or YAML file of the skeleton, where the labels do not say it.")
]
CategoryOption = Annotated[
    str | None,
    typer.Option(help="Category of the labels to read, by name or id; else the first with keypoints, and its like."),
]
AllowOutsideOption = Annotated[
    bool, typer.Option("--allow-outside", help="Read images outside --images, if the labels name such.")
]
WorkersOption = Annotated[int, typer.Option(min=1, max=64, help="Threads that read images.")]


def read_set(
    path: Path, from_format: str | None, skeleton: str | None, category: str | None, *, allow_outside: bool
) -> LabeledSet:
    """Read labels as the options say.

    Raises:
        ValueError: in one line, if the labels or the skeleton are of no use.
    """
    known = None if skeleton is None else named_skeleton(skeleton)
    return read_labels(path, from_format, known, category, allow_outside=allow_outside)


def scan_with_bar(labels: LabeledSet, images: Path, num_workers: int) -> list[ImageFile]:
    """Read every image of a set, with a bar on standard error if that is a terminal.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not images.is_dir():
        raise MissingFileError(f"no folder at {images}; --images is the folder of the images")
    console = SafeConsole(stderr=True)
    files = scan_images(labels.images, images, num_workers)
    return list(track(files, "reading images", len(labels.images), console=console, disable=not console.is_terminal))


_EXAMPLES = 2


def check_command(
    labels: LabelsArgument,
    images: Annotated[Path | None, typer.Option(help="Folder of the images.")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Check the labels alone.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all findings.")] = None,
    workers: WorkersOption = 4,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Look for mistakes in labels and images; exit code 1 if there are errors, 0 if there are warnings or nothing."""
    if (images is None) != no_images:
        fail("give the folder of the images, --images DIR, or else --no-images")
    with one_line_errors():
        labeled = read_set(labels, from_format, skeleton, category, allow_outside=allow_outside or images is None)
        files = [] if images is None else scan_with_bar(labeled, images, workers)
        findings = check_labels(labeled, files)
        if json_file is not None:
            write_text(json_file, json.dumps(_describe_findings(labeled, findings), indent=1) + "\n")
    for kind, matching in order_findings(findings).items():
        _show_findings(kind, matching)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    counts = f"{len(labeled.people)} people in {len(labeled.images)} images"
    echo(f"{counts}: {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(SOME_FAILED)


def _show_findings(kind: str, matching: list[Finding]) -> None:
    echo(f"{KINDS[kind].severity.value} {kind}: {len(matching)}")
    for finding in matching[:_EXAMPLES]:
        echo(f"    {finding.place}: {finding.message}")
    echo(f"    -> {KINDS[kind].advice}")


def _describe_findings(labels: LabeledSet, findings: list[Finding]) -> dict[str, object]:
    return {
        "images": len(labels.images),
        "people": len(labels.people),
        "counts": {kind: len(matching) for kind, matching in order_findings(findings).items()},
        "findings": [
            {
                "kind": finding.kind,
                "severity": finding.severity.value,
                "image": finding.image,
                "image_id": finding.image_id,
                "person_id": finding.person_id,
                "message": finding.message,
            }
            for finding in findings
        ],
    }


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


_WRITABLE = [name for name, label_format in FORMATS.items() if label_format.write]


def convert_command(
    source: Annotated[Path, typer.Argument(help="Label file, or folder where the format is one.")],
    destination: Annotated[Path, typer.Argument(help="File to write, or folder where the format is one.")],
    to: Annotated[str, typer.Option(help=f"Format to write: {', '.join(_WRITABLE)}.")],
    from_format: Annotated[
        str | None, typer.Option("--from", help=f"Format of the source, else told from it: {', '.join(FORMATS)}.")
    ] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Name or YAML file of the source's skeleton, where it does not say.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, for formats that need sizes which the source lacks.")
    ] = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Rewrite labels in another format; warn about what it cannot hold."""
    with one_line_errors():
        labels = read_set(source, from_format, skeleton, category, allow_outside=allow_outside or images is None)
        if images is not None:
            labels = with_sizes(labels, images)
        write_labels(labels, destination, to)
    echo(f"{destination}: {len(labels.people)} people in {len(labels.images)} images, as {to}")


TRAIN_FILE, VAL_FILE = "train.json", "val.json"


def split_command(
    labels: LabelsArgument,
    out: Annotated[Path, typer.Option(help=f"Folder for {TRAIN_FILE} and {VAL_FILE}, COCO keypoint files.")],
    val: Annotated[float, typer.Option(min=0.001, max=0.999, help="Share of the images to measure on.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Another seed draws other images.")] = 0,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Split labels by image, drawn at random, into a set to train on and one to measure on."""
    with one_line_errors():
        paths = out / TRAIN_FILE, out / VAL_FILE
        for path in paths:
            if path.exists():
                raise InvalidValueError(f"{path} is there already; choose another --out")
        labeled = read_set(labels, from_format, skeleton, category, allow_outside=allow_outside)
        sets = split_by_image(labeled, val, seed)
        prepare_folder(out)
        for path, part in zip(paths, sets, strict=True):
            write_coco(part, path)
    for path, part in zip(paths, sets, strict=True):
        echo(f"{path}: {len(part.people)} people in {len(part.images)} images")
