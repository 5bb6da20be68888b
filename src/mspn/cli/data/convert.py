"""mspn data convert and split: labels in another format, or in two parts."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.data.options import (
    AllowOutsideOption,
    CategoryOption,
    FormatOption,
    LabelsArgument,
    SkeletonOption,
    read_set,
)
from mspn.cli.printing import echo, one_line_errors
from mspn.errors import InvalidValueError
from mspn.io.files import prepare_folder
from mspn.labels.formats import FORMATS, write_labels
from mspn.labels.formats.coco import write_coco
from mspn.labels.label_set import split_by_image, with_sizes

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
