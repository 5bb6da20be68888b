"""mspn models quantize and average: new weights from trained ones, without training."""

import random
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import UInt8

from mspn.checkpoints.average import average_weights
from mspn.checkpoints.format import load_checkpoint, save_weights
from mspn.cli.errors import fail, one_line_errors
from mspn.cli.models.download import find_with_bar
from mspn.inference.quantization import calibrate_activations
from mspn.io.images import IMAGE_SUFFIXES
from mspn.predict.estimator import PoseEstimator
from mspn.sources import open_sources
from mspn.structures.image import SourceFailure


def average_command(
    models: Annotated[
        list[str], typer.Argument(help="Names of models, or weights files, of runs that share their start.")
    ],
    out: Annotated[Path, typer.Option(help="File to write.")],
) -> None:
    """Average the weights of runs of one network: often better than each, as fast as one."""
    with one_line_errors():
        average = average_weights([load_checkpoint(find_with_bar(model)) for model in models])
        save_weights(out, average.model, average.header)
    typer.echo(f"{out}: {average.header.recipe.model.summary}, {average.header.notes}")


_ENOUGH_PEOPLE = 200


def quantize_command(
    model: Annotated[str, typer.Argument(help="Name of a model, or a weights file.")],
    destination: Annotated[Path, typer.Argument(help="File to write: the same weights, and how far values go.")],
    images: Annotated[
        Path, typer.Option(help=f"Folder of images like those to come; {_ENOUGH_PEOPLE} people are looked at.")
    ],
    detector: Annotated[str, typer.Option(help="What finds people, as for mspn predict.")] = "default",
) -> None:
    """Measure on images how far values go between layers, as --precision int8 needs it."""
    with one_line_errors():
        checkpoint = load_checkpoint(find_with_bar(model))
        crops = _cut_people(PoseEstimator(checkpoint, detector, device="cpu"), images)
        ranges = calibrate_activations(checkpoint.model, torch.from_numpy(crops))
        save_weights(destination, checkpoint.model, checkpoint.header.model_copy(update={"calibration_ranges": ranges}))
    typer.echo(f"{destination}: measured on {len(crops)} people; use it with --precision int8")


def _cut_people(estimator: PoseEstimator, images: Path) -> UInt8[np.ndarray, "N H W 3"]:
    """Of images all over the folder."""
    paths = [path for path in sorted(images.glob("**/*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        fail(f"--images {images}: no images are there; give a folder of them")
    random.Random(0).shuffle(paths)
    crops: list[UInt8[np.ndarray, "H W 3"]] = []
    for image in open_sources(paths):
        if isinstance(image, SourceFailure):
            typer.echo(f"skipped: {image.problem}", err=True)
            continue
        crops += [estimator.top_down.crop(image, detection).crops[0] for detection in estimator.top_down.detect(image)]
        if len(crops) >= _ENOUGH_PEOPLE:
            break
    if not crops:
        fail(f"--images {images}: nobody is found in {len(paths)} images; try others, or --detector none")
    return np.stack(crops[:_ENOUGH_PEOPLE])
