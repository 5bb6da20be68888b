"""mspn data pack: the people of a recipe's sets in one file."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.data.options import WorkersOption
from mspn.cli.printing import SOME_FAILED, echo, fail, one_line_errors
from mspn.cli.progress import show_count
from mspn.config.recipe import Recipe, override
from mspn.config.recipes import find_any_recipe
from mspn.datasets.crop_dataset import read_training_sets
from mspn.datasets.packing import pack_people
from mspn.errors import InvalidValueError


def pack_command(
    recipe: Annotated[str, typer.Argument(help="Name of the recipe that will train on it, for example mspn-tiny.")],
    out: Annotated[Path, typer.Option(help="File to write, ending in .zip.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a setting of the recipe, e.g. data.root=/data."),
    ] = None,
    megabytes: Annotated[
        float, typer.Option(min=0.01, help="Of the file at most; crops are stored as well as fits.")
    ] = 40.0,
    workers: WorkersOption = 4,
) -> None:
    """Cut the people of a recipe's training sets out of their photos, into one file that training reads.

    The recipe's augmentation says how much around each person is kept. Corrections, faces and keypoints that are never
    labeled are settled in the file; train with data.train=FILE.zip and without them.
    """
    with one_line_errors():
        resolved = override(find_any_recipe(recipe), settings or [])
        if not isinstance(resolved, Recipe):
            fail(f"{recipe} detects people in whole photos; only crops of pose networks can be packed")
        if out.suffix.lower() != ".zip":
            raise InvalidValueError(f"{out} must end in .zip, by which training knows packed files")
        if out.exists():
            raise InvalidValueError(f"{out} is there already; choose another --out")
        if not resolved.data.train:
            raise InvalidValueError(f"{recipe} has no set to pack; name some with --set data.train=")
        if packed := next((config.annotations for config in resolved.data.train if config.is_packed), None):
            raise InvalidValueError(f"{packed} is packed already; name photos and their labels")
        sets = read_training_sets(resolved)
        with show_count("packing", "people") as show:
            report = pack_people(out, resolved, sets, megabytes * 1e6, workers, show)
    for problem in report.problems:
        echo(f"skipped: {problem}", err=True)
    resolution, webp = report.quality
    echo(
        f"{out}: {report.num_people} people, {out.stat().st_size / 1e6:.1f} MB (resolution {resolution:g} of the widest"
        f" crop, WebP quality {webp})"
    )
    if report.problems:
        echo(f"{len(report.problems)} photos could not be used, see above", err=True)
        raise typer.Exit(SOME_FAILED)
