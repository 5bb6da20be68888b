"""mspn data review: find label errors with a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from mspn.cli.data.options import (
    AllowOutsideOption,
    CategoryOption,
    FormatOption,
    LabelsArgument,
    SkeletonOption,
    read_set,
)
from mspn.cli.options import (
    BatchOption,
    DeviceOption,
    FlipOption,
    ModelsOption,
    PrecisionName,
    PrecisionOption,
)
from mspn.cli.printing import SOME_FAILED, SafeConsole, echo, one_line_errors
from mspn.cli.progress import show_count
from mspn.errors import InvalidValueError
from mspn.evaluation.label_review import find_suspect_labels
from mspn.evaluation.predicting import predict_labeled
from mspn.inference.devices import keep_freed_memory
from mspn.io.files import prepare_folder
from mspn.labels.corrections import Correction, write_corrections
from mspn.labels.drawing import draw_corrections
from mspn.labels.label_set import LabeledSet
from mspn.labels.reading import check_keypoint_names
from mspn.predict.estimator import PoseEstimator

CORRECTIONS_FILE, SHEETS = "corrections.json", "sheets"


def review_command(
    labels: LabelsArgument,
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    out: Annotated[Path, typer.Option(help=f"Folder for {CORRECTIONS_FILE} and {SHEETS}.")],
    models: ModelsOption = ["default"],  # noqa: B006 (typer copies it)
    flip: FlipOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.AUTO,
    batch: BatchOption = 32,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Find likely label errors (sides swapped, limbs reversed, keypoints far off); propose corrections.

    Each person is estimated in the labeled box. The contact sheets show labels and corrections side by side: delete
    the entries of people whose labels were right, then train with the corrections of the set (data.train).
    """
    keep_freed_memory()
    with one_line_errors():
        labeled = read_set(labels, from_format, skeleton, category, allow_outside=allow_outside)
        file = out / CORRECTIONS_FILE
        if file.exists():
            raise InvalidValueError(f"{file} is there already, and may have been edited; choose another --out")
        prepare_folder(out)
        estimator = PoseEstimator(models, "none", device=device, precision=precision.value, batch_size=batch, flip=flip)
        check_keypoint_names(labels, labeled.skeleton, estimator.recipe.keypoint_table)
        with show_count() as show:
            predictions, results = predict_labeled(estimator, labeled, images, show)
        corrections = find_suspect_labels(labeled, results, predictions.skeleton)
        write_corrections(file, labels, tuple(models), corrections)
        num_undrawn = _draw(labeled, corrections, images, out / SHEETS)
    swapped = sum(bool(correction.swap) for correction in corrections.values())
    left_out = sum(len(correction.leave_out) for correction in corrections.values())
    echo(
        f"{len(corrections)} of {len(results)} people: {swapped} with pairs to swap, {left_out} keypoints to leave out:"
        f" {file}"
    )
    if corrections:
        echo(f"look at {out / SHEETS}, and delete the entries of those who were right")
    if predictions.failed or num_undrawn:
        echo(f"{predictions.failed + num_undrawn} images or boxes could not be used, see above", err=True)
        raise typer.Exit(SOME_FAILED)


def _draw(labels: LabeledSet, corrections: Mapping[int, Correction], images: Path, out: Path) -> int:
    """Draw the sheets; the number of people who could not be drawn."""
    console = SafeConsole(stderr=True)
    drawing = draw_corrections(labels, corrections, images, out)
    num_undrawn = 0
    for problem in track(drawing, "drawing", len(corrections), console=console, disable=not console.is_terminal):
        if problem is not None:
            echo(f"skipped: {problem}", err=True)
            num_undrawn += 1
    return num_undrawn
