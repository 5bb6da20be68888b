"""mspn models quantise: weights that can be computed with in 8-bit integers."""

import random
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import UInt8

from mspn.cli.errors import fail, one_line_errors
from mspn.cli.pull import find_with_bar
from mspn.images import PICTURE_SUFFIXES
from mspn.model.quantisation import measure_ranges
from mspn.picture import Unreadable
from mspn.predict.estimator import PoseEstimator
from mspn.sources.open import open_sources
from mspn.weights.checkpoint import load_checkpoint, save_weights

_ENOUGH_PEOPLE = 200


def quantise_command(
    model: Annotated[str, typer.Argument(help="Name of a model, or a weights file.")],
    destination: Annotated[Path, typer.Argument(help="File to write: the same weights, and how far values go.")],
    images: Annotated[
        Path, typer.Option(help=f"Folder of pictures like those to come; {_ENOUGH_PEOPLE} people are looked at.")
    ],
    detector: Annotated[str, typer.Option(help="What finds people, as for mspn predict.")] = "default",
) -> None:
    """Measure on pictures how far values go between layers, as --precision int8 needs it."""
    with one_line_errors():
        checkpoint = load_checkpoint(find_with_bar(model))
        crops = _cut_people(PoseEstimator(checkpoint, detector, device="cpu"), images)
        ranges = measure_ranges(checkpoint.model, torch.from_numpy(crops))
        save_weights(destination, checkpoint.model, checkpoint.header.model_copy(update={"ranges": ranges}))
    typer.echo(f"{destination}: measured on {len(crops)} people; use it with --precision int8")


def _cut_people(estimator: PoseEstimator, images: Path) -> UInt8[np.ndarray, "N H W 3"]:
    """Of pictures all over the folder."""
    paths = [path for path in sorted(images.glob("**/*")) if path.suffix.lower() in PICTURE_SUFFIXES]
    if not paths:
        fail(f"--images {images}: no pictures are there; give a folder of them")
    random.Random(0).shuffle(paths)
    crops: list[UInt8[np.ndarray, "H W 3"]] = []
    for picture in open_sources(paths):
        if isinstance(picture, Unreadable):
            typer.echo(f"skipped: {picture.problem}", err=True)
            continue
        crops += [estimator.cut(picture, detection).crops[0] for detection in estimator.find(picture)]
        if len(crops) >= _ENOUGH_PEOPLE:
            break
    if not crops:
        fail(f"--images {images}: nobody is found in {len(paths)} pictures; try others, or --detector none")
    return np.stack(crops[:_ENOUGH_PEOPLE])
