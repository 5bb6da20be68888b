"""mspn data split: a labeled set into one to train on and one to measure on."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.data.options import FormatOption, LabelsArgument, SkeletonOption, read_set
from mspn.cli.errors import one_line_errors
from mspn.cli.options import AllowOutsideOption, CategoryOption
from mspn.cli.printing import echo
from mspn.errors import InvalidValueError
from mspn.io.files import prepare_folder
from mspn.labels.formats.coco import write_coco
from mspn.labels.split import split_by_image

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
