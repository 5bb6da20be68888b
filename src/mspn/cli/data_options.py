"""What the commands of `mspn data` share: their options, and reading and checking a set."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from mspn.data.checks.pictures import PictureFile, scan_pictures
from mspn.data.formats import FORMATS, read_labels
from mspn.data.labels import LabelledSet
from mspn.skeleton_file import named_skeleton

LabelsArgument = Annotated[Path, typer.Argument(help="Label file, or folder where the format is one.")]
FormatOption = Annotated[
    str | None, typer.Option("--from", help=f"Format of the labels, else told from them: {', '.join(FORMATS)}.")
]
SkeletonOption = Annotated[
    str | None, typer.Option(help="Name or YAML file of the skeleton, where the labels do not say it.")
]
WorkersOption = Annotated[int, typer.Option(min=1, max=64, help="Threads that read pictures.")]


def read_set(path: Path, from_format: str | None, skeleton: str | None) -> LabelledSet:
    """Read labels as the options say.

    Raises:
        ValueError: in one line, if the labels or the skeleton are of no use.
    """
    return read_labels(path, from_format, None if skeleton is None else named_skeleton(skeleton))


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
