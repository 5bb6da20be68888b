"""mspn data show, review and pack: labels drawn on their images, errors found by a network, people in one file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from mspn.cli.data import (
    AllowOutsideOption,
    CategoryOption,
    FormatOption,
    LabelsArgument,
    SkeletonOption,
    WorkersOption,
    read_set,
    scan_with_bar,
)
from mspn.cli.options import (
    BatchOption,
    DeviceOption,
    FlipOption,
    ModelsOption,
    PrecisionName,
    PrecisionOption,
)
from mspn.cli.printing import SOME_FAILED, SafeConsole, echo, fail, one_line_errors
from mspn.cli.progress import show_count
from mspn.config.recipe import Recipe, override
from mspn.config.recipes import find_any_recipe
from mspn.datasets.crop_dataset import read_training_sets
from mspn.datasets.packing import pack_people
from mspn.errors import InvalidValueError
from mspn.evaluation.label_review import find_suspect_labels
from mspn.evaluation.predicting import predict_labeled
from mspn.inference.devices import keep_freed_memory
from mspn.io.files import prepare_folder
from mspn.labels.checks import IMAGE_KINDS, check_labels
from mspn.labels.corrections import Correction, write_corrections
from mspn.labels.drawing import IMAGES, SHEETS, Shown, draw_corrections, draw_set, show_everyone, show_findings
from mspn.labels.label_set import LabeledSet
from mspn.labels.label_table import KINDS
from mspn.labels.reading import check_keypoint_names
from mspn.predict.estimator import PoseEstimator


def show_command(
    labels: LabelsArgument,
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    out: Annotated[Path, typer.Option(help="Folder for what is drawn.")],
    limit: Annotated[int, typer.Option(min=1, help="The most people to draw.")] = 100,
    person: Annotated[list[int] | None, typer.Option(help="Id of a person to draw; may be given often.")] = None,
    only: Annotated[
        str | None, typer.Option(help="Draw whom this kind of finding of `mspn data check` is about.")
    ] = None,
    workers: WorkersOption = 4,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Draw labels on their images, and sheets of a hundred people each.

    Left is orange, right is blue; discs are visible keypoints, rings occluded ones.
    """
    with one_line_errors():
        if only is not None and only not in KINDS:
            raise InvalidValueError(f"--only {only}: there is no such kind of finding; there are {', '.join(KINDS)}")
        labeled = read_set(labels, from_format, skeleton, category, allow_outside=allow_outside)
        shown = show_everyone(labeled) if only is None else _find(labeled, images, only, workers)
        if person:
            shown = [entry for entry in shown if entry.person.id in person]
        if not shown:
            raise InvalidValueError(
                f"{labels}: nobody to draw"
                + (f" with a finding of {only}" if only else "")
                + (" has these ids" if person else "")
            )
        prepare_folder(out)
        problems = _draw_shown(labeled, images, shown[:limit], out)
    drawn = min(limit, len(shown))
    echo(f"{drawn} of {len(shown)} people: {out / SHEETS}, their images: {out / IMAGES}")
    if problems:
        raise typer.Exit(SOME_FAILED)


def _find(labels: LabeledSet, images: Path, kind: str, num_workers: int) -> list[Shown]:
    needs_images = kind in IMAGE_KINDS or any(image.size is None for image in labels.images)
    files = scan_with_bar(labels, images, num_workers) if needs_images else []
    return show_findings(labels, [finding for finding in check_labels(labels, files) if finding.kind == kind])


def _draw_shown(labels: LabeledSet, images: Path, shown: list[Shown], out: Path) -> list[str]:
    console = SafeConsole(stderr=True)
    num_images = len({entry.person.image_id for entry in shown})
    drawing = draw_set(labels, images, shown, out)
    problems = []
    for problem in track(drawing, "drawing", num_images, console=console, disable=not console.is_terminal):
        if problem is not None:
            echo(f"skipped: {problem}", err=True)
            problems.append(problem)
    return problems


CORRECTIONS_FILE = "corrections.json"


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
        num_undrawn = _draw_corrections(labeled, corrections, images, out / SHEETS)
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


def _draw_corrections(labels: LabeledSet, corrections: Mapping[int, Correction], images: Path, out: Path) -> int:
    """Draw the sheets; the number of people who could not be drawn."""
    console = SafeConsole(stderr=True)
    drawing = draw_corrections(labels, corrections, images, out)
    num_undrawn = 0
    for problem in track(drawing, "drawing", len(corrections), console=console, disable=not console.is_terminal):
        if problem is not None:
            echo(f"skipped: {problem}", err=True)
            num_undrawn += 1
    return num_undrawn


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
