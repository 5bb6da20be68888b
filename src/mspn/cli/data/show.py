"""mspn data show: draw labels on their images."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

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
from mspn.cli.printing import SOME_FAILED, SafeConsole, echo, one_line_errors
from mspn.errors import InvalidValueError
from mspn.io.files import prepare_folder
from mspn.labels.checks import IMAGE_KINDS, check_labels
from mspn.labels.drawing import IMAGES, SHEETS, Shown, draw_set, show_everyone, show_findings
from mspn.labels.label_set import LabeledSet
from mspn.labels.label_table import KINDS


def show_command(
    labels: LabelsArgument,
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    out: Annotated[Path, typer.Option(help="Folder for what is drawn.")],
    limit: Annotated[int, typer.Option(min=1, help="The most people to draw.")] = 100,
    person: Annotated[list[int] | None, typer.Option(help="Id of a person to draw; may be given often.")] = None,
    only: Annotated[
        str | None, typer.Option(help="Draw whom this kind of finding of `mspn data check` is about.")
    ] = None,
    workers: WorkersOption = 4,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Draw labels on their images, and sheets of a hundred people each.

    Left is orange, right is blue; discs are visible keypoints, rings occluded ones.
    """
    with one_line_errors():
        if only is not None and only not in KINDS:
            raise InvalidValueError(f"--only {only}: there is no such kind of finding; there are {', '.join(KINDS)}")
        labeled = read_set(labels, from_format, skeleton, category, allow_outside=allow_outside)
        shown = show_everyone(labeled) if only is None else _find(labeled, images, only, workers)
        if person:
            shown = [entry for entry in shown if entry.person.id in person]
        if not shown:
            raise InvalidValueError(
                f"{labels}: nobody to draw"
                + (f" with a finding of {only}" if only else "")
                + (" has these ids" if person else "")
            )
        prepare_folder(out)
        problems = _draw(labeled, images, shown[:limit], out)
    drawn = min(limit, len(shown))
    echo(f"{drawn} of {len(shown)} people: {out / SHEETS}, their images: {out / IMAGES}")
    if problems:
        raise typer.Exit(SOME_FAILED)


def _find(labels: LabeledSet, images: Path, kind: str, num_workers: int) -> list[Shown]:
    needs_images = kind in IMAGE_KINDS or any(image.size is None for image in labels.images)
    files = scan_with_bar(labels, images, num_workers) if needs_images else []
    return show_findings(labels, [finding for finding in check_labels(labels, files) if finding.kind == kind])


def _draw(labels: LabeledSet, images: Path, shown: list[Shown], out: Path) -> list[str]:
    console = SafeConsole(stderr=True)
    num_images = len({entry.person.image_id for entry in shown})
    drawing = draw_set(labels, images, shown, out)
    problems = []
    for problem in track(drawing, "drawing", num_images, console=console, disable=not console.is_terminal):
        if problem is not None:
            echo(f"skipped: {problem}", err=True)
            problems.append(problem)
    return problems
