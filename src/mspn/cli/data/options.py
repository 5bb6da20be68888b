"""What the commands of `mspn data` share: their options, and reading and checking a set."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from mspn.cli.printing import SafeConsole
from mspn.config.data import named_skeleton
from mspn.errors import MissingFileError
from mspn.labels.checks import ImageFile, scan_images
from mspn.labels.formats import FORMATS, read_labels
from mspn.labels.label_set import LabeledSet

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
