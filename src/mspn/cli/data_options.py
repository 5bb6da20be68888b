"""What the commands of `mspn data` share: their options, and reading and checking a set."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from mspn.data.checks.pictures import PictureFile, scan_pictures
from mspn.data.labels import LabelledSet

LabelsArgument = Annotated[Path, typer.Argument(help="Label file, or folder where the format is one.")]
FormatOption = Annotated[str | None, typer.Option("--from", help="Format of the labels; by default told from them.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=64, help="Threads that read pictures.")]


def scan_with_bar(labels: LabelledSet, images: Path, num_workers: int) -> list[PictureFile]:
    """Read every picture of a set, with a bar on standard error if that is a terminal.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not images.is_dir():
        raise FileNotFoundError(f"no folder at {images}; --images is the folder of the pictures")
    console = Console(stderr=True)
    files = scan_pictures(labels.pictures, images, num_workers)
    return list(
        track(files, "reading pictures", len(labels.pictures), console=console, disable=not console.is_terminal)
    )
