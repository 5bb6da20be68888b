"""mspn data show: labels drawn on their pictures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from mspn.cli.data_options import FormatOption, LabelsArgument, SkeletonOption, WorkersOption, read_set, scan_with_bar
from mspn.cli.errors import SOME_FAILED, one_line_errors
from mspn.data.check import check_labels
from mspn.data.checks.findings import KINDS
from mspn.data.checks.pictures import PICTURE_KINDS
from mspn.data.labels import LabelledSet
from mspn.data.show import PICTURES, SHEETS, Shown, draw_set, show_everyone, show_findings
from mspn.files import prepare_folder


def show_command(
    labels: LabelsArgument,
    images: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    out: Annotated[Path, typer.Option(help="Folder for what is drawn.")],
    limit: Annotated[int, typer.Option(min=1, help="The most people to draw.")] = 100,
    person: Annotated[list[int] | None, typer.Option(help="Id of a person to draw; may be given often.")] = None,
    only: Annotated[
        str | None, typer.Option(help="Draw whom this kind of finding of `mspn data check` is about.")
    ] = None,
    workers: WorkersOption = 4,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
) -> None:
    """Draw labels on their pictures, and sheets of a hundred people each.

    Left is orange, right is blue; discs are visible keypoints, rings occluded ones.
    """
    with one_line_errors():
        if only is not None and only not in KINDS:
            raise ValueError(f"--only {only}: there is no such kind of finding; there are {', '.join(KINDS)}")
        labelled = read_set(labels, from_format, skeleton)
        shown = show_everyone(labelled) if only is None else _find(labelled, images, only, workers)
        if person:
            shown = [one for one in shown if one.person.id in person]
        if not shown:
            raise ValueError(
                f"{labels}: nobody to draw"
                + (f" with a finding of {only}" if only else "")
                + (" has these ids" if person else "")
            )
        prepare_folder(out)
        problems = _draw(labelled, images, shown[:limit], out)
    drawn = min(limit, len(shown))
    typer.echo(f"{drawn} of {len(shown)} people: {out / SHEETS}, their pictures: {out / PICTURES}")
    if problems:
        raise typer.Exit(SOME_FAILED)


def _find(labels: LabelledSet, images: Path, kind: str, num_workers: int) -> list[Shown]:
    needs_pictures = kind in PICTURE_KINDS or any(picture.size is None for picture in labels.pictures)
    files = scan_with_bar(labels, images, num_workers) if needs_pictures else []
    return show_findings(labels, [finding for finding in check_labels(labels, files) if finding.kind == kind])


def _draw(labels: LabelledSet, images: Path, shown: list[Shown], out: Path) -> list[str]:
    console = Console(stderr=True)
    num_pictures = len({one.person.picture_id for one in shown})
    drawing = draw_set(labels, images, shown, out)
    problems = []
    for problem in track(drawing, "drawing", num_pictures, console=console, disable=not console.is_terminal):
        if problem is not None:
            typer.echo(f"skipped: {problem}", err=True)
            problems.append(problem)
    return problems
