"""mspn models convert, average and quantize: new weights files from trained ones, without training."""

import random
from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import typer

from mspn.checkpoints.convert import read_external, write_external
from mspn.checkpoints.format import (
    Checkpoint,
    average_weights,
    load_checkpoint,
    load_detector,
    read_metadata,
    save_weights,
)
from mspn.checkpoints.metadata import DetectorMetadata
from mspn.cli.options import change_test, find_with_bar
from mspn.cli.printing import echo, fail, one_line_errors
from mspn.config.model import parse_size
from mspn.inference.quantization import calibrate_activations
from mspn.io.images import IMAGE_SUFFIXES
from mspn.predict.ensemble import PersonCrop
from mspn.predict.estimator import PoseEstimator
from mspn.predict.heatmaps import stack_crops
from mspn.sources import open_sources
from mspn.structures.image import SourceFailure

_OUR_SUFFIX = ".safetensors"


class Target(str, Enum):
    """File layouts that `convert` writes."""

    MSPN = "mspn"
    OFFICIAL = "official"
    MMPOSE = "mmpose"
    MMPOSE_0 = "mmpose-0.x"


def convert_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="Weights of mspn (.safetensors), or published ones of MSPN, RSN or simple baselines (.pth)."
        ),
    ],
    destination: Annotated[Path, typer.Argument(help="File to write.")],
    to: Annotated[Target, typer.Option(help="Layout to write.")] = Target.MSPN,
    half: Annotated[bool, typer.Option("--half", help="Store in 16 bits, at half the size (only --to mspn).")] = False,
    input_size: Annotated[
        str | None,
        typer.Option(help="Height and width of the crop, as 384x288; published files do not record it."),
    ] = None,
    license_name: Annotated[
        str | None, typer.Option("--license", help="License of the weights, for the metadata.")
    ] = None,
    notes: Annotated[str | None, typer.Option(help="Notes for the metadata.")] = None,
    results: Annotated[
        list[str] | None, typer.Option("--result", metavar="SET=AP", help="A measured AP, 0 to 1, for the metadata.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a test setting, e.g. test.decoder=mmpose."),
    ] = None,
) -> None:
    """Convert weights between mspn's layout, the released codes' and MMPose's; simple baselines to mspn's only."""
    with one_line_errors():
        if half and to is not Target.MSPN:
            fail("--half is for --to mspn only")
        stated = {"license": license_name, "notes": notes, "results": _parse_results(results) if results else None}
        changes = {key: value for key, value in stated.items() if value is not None}
        dtype = torch.float16 if half else torch.float32
        if _is_detector(source):
            if to is not Target.MSPN or input_size is not None or settings:
                fail(
                    f"{source} is a person detector: it has one layout, no crop size, no test settings; leave them out"
                )
            detector = load_detector(source)
            save_weights(destination, detector.model, detector.metadata.model_copy(update=changes), dtype)
            echo(f"{destination}: {detector.metadata.recipe.model.summary}")
            return
        checkpoint = _read(source)
        recipe = change_test(checkpoint.metadata.recipe, settings or [])
        if input_size is not None:
            model = recipe.model.model_copy(update={"input_size": parse_size(input_size)})
            recipe = recipe.model_copy(update={"model": model})
        if to is Target.MSPN:
            metadata = checkpoint.metadata.model_copy(update={"recipe": recipe, **changes})
            save_weights(destination, checkpoint.model, metadata, dtype)
        else:
            write_external(destination, checkpoint.model, to.value)
    shape = recipe.model
    crop = f"{shape.input_size.height}x{shape.input_size.width} crops"
    is_assumed = input_size is None and source.suffix != _OUR_SUFFIX
    hint = " (assumed; --input-size says otherwise)" if is_assumed else ""
    echo(f"{destination}: {shape.summary}, {shape.num_keypoints} keypoints, {crop}{hint}")


def _parse_results(texts: list[str]) -> dict[str, float]:
    results = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            results[name] = float(value)
        except ValueError:
            fail(f"--result {text}: write it as SET=AP, for example studio_val=0.75")
    return results


def _is_detector(path: Path) -> bool:
    return path.suffix == _OUR_SUFFIX and isinstance(read_metadata(path), DetectorMetadata)


def _read(path: Path) -> Checkpoint:
    return load_checkpoint(path) if path.suffix == _OUR_SUFFIX else read_external(path)


def average_command(
    models: Annotated[
        list[str], typer.Argument(help="Names of models, or weights files, of runs that share their start.")
    ],
    out: Annotated[Path, typer.Option(help="File to write.")],
) -> None:
    """Average the weights of runs of one network: often better than each, as fast as one."""
    with one_line_errors():
        average = average_weights([load_checkpoint(find_with_bar(model)) for model in models])
        save_weights(out, average.model, average.metadata)
    echo(f"{out}: {average.metadata.recipe.model.summary}, {average.metadata.notes}")


MAX_CALIBRATION_PEOPLE = 200


def quantize_command(
    model: Annotated[str, typer.Argument(help="Name of a model, or a weights file.")],
    destination: Annotated[Path, typer.Argument(help="File to write: the same weights with calibration ranges.")],
    images: Annotated[
        Path,
        typer.Option(help=f"Folder of images like those to predict; up to {MAX_CALIBRATION_PEOPLE} people are used."),
    ],
    detector: Annotated[str, typer.Option(help="Detector, as for mspn predict.")] = "default",
) -> None:
    """Calibrate activations on images, as --precision int8 needs it."""
    with one_line_errors():
        checkpoint = load_checkpoint(find_with_bar(model))
        people = crop_people(PoseEstimator(checkpoint, detector, device="cpu"), images)
        calibration_ranges = calibrate_activations(checkpoint.model, stack_crops(people))
        save_weights(
            destination,
            checkpoint.model,
            checkpoint.metadata.model_copy(update={"calibration_ranges": calibration_ranges}),
        )
    echo(f"{destination}: calibrated on {len(people)} people; use it with --precision int8")


def crop_people(estimator: PoseEstimator, images: Path, limit: int = MAX_CALIBRATION_PEOPLE) -> list[PersonCrop]:
    """Up to `limit` people cut out of images in random order."""
    paths = [path for path in sorted(images.glob("**/*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        fail(f"--images {images}: no images are there; give a folder of them")
    random.Random(0).shuffle(paths)
    people: list[PersonCrop] = []
    for image in open_sources(paths):
        if isinstance(image, SourceFailure):
            echo(f"skipped: {image.problem}", err=True)
            continue
        people += [estimator.top_down.crop(image, detection) for detection in estimator.top_down.detect(image)]
        if len(people) >= limit:
            break
    if not people:
        fail(f"--images {images}: nobody is found in {len(paths)} images; try others, or --detector none")
    return people[:limit]
