"""mspn predict: keypoints of the people in pictures."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from mspn.cli.errors import SOME_FAILED, fail, one_line_errors
from mspn.cli.options import (
    BatchOption,
    DeviceOption,
    FlipOption,
    ModelsOption,
    PrecisionName,
    PrecisionOption,
    WeightsOption,
)
from mspn.cli.pull import find_with_bar
from mspn.detect.boxes_file import BoxesFile
from mspn.detect.boxes_folder import BoxesFolder
from mspn.detect.by_name import make_detector
from mspn.files import prepare_folder
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import PictureResult, find_pictures, predict_pictures
from mspn.predict.runner import choose_device
from mspn.predict.writers import WRITERS, ImageWriter

_MOST_ROWS = 20


def predict_command(
    sources: Annotated[list[str], typer.Argument(help="Pictures, or folders of pictures.")],
    models: ModelsOption = ["default"],  # noqa: B006 (typer copies it)
    weights: WeightsOption = None,
    detector: Annotated[
        str,
        typer.Option(
            help="What finds people: none (each picture is one person), FILE.onnx, FAMILY:FILE.onnx, transformers:NAME"
            " or package.module:Class; see docs/detectors.md."
        ),
    ] = "none",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Boxes with a lower score are left out.")] = 0.3,
    boxes: Annotated[
        Path | None, typer.Option(help="Boxes file, or a folder of text files, in place of a detector.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("predictions"),
    save: Annotated[str, typer.Option(help=f"What to write, of {','.join(WRITERS)}.")] = "json",
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.AUTO,
    batch: BatchOption = 32,
    flip: FlipOption = None,
) -> None:
    """Find the keypoints of the people in pictures."""
    with one_line_errors():
        chosen = [_checked_writer(name.strip()) for name in save.split(",")]
        paths = find_pictures(sources)
        found_by = _open_boxes(boxes, paths) if boxes else make_detector(detector, choose_device(device))
        prepare_folder(out)
        if "images" in chosen:
            _refuse_to_overwrite(paths, out / ImageWriter.FOLDER)
        estimator = PoseEstimator(
            [find_with_bar(model) for model in models],
            found_by,
            device=device,
            precision=precision.value,
            batch_size=batch,
            threshold=threshold,
            flip=flip,
            ensemble_weights=weights,
        )
        results, drawn = _run(estimator, paths, out, chosen)
    _show(results)
    typer.echo(f"results: {out}")
    if drawn:
        typer.echo(f"drawn pictures: {drawn}")
    if any(result.problems for result in results):
        raise typer.Exit(SOME_FAILED)


def _run(
    estimator: PoseEstimator, paths: list[Path], out: Path, chosen: list[str]
) -> tuple[list[PictureResult], Path | None]:
    """Predict and write; what is written stays, whatever happens. Results are returned without their pixels."""
    results = []
    console = Console(stderr=True)
    with ExitStack() as stack:
        writers = [WRITERS[name](out) for name in chosen]
        for writer in writers:
            stack.callback(writer.close)
        predicted = predict_pictures(estimator, paths)
        for result in track(predicted, "predicting", len(paths), console=console, disable=not console.is_terminal):
            for problem in result.problems:
                typer.echo(f"skipped: {problem}", err=True)
            for writer in writers:
                writer.write(result)
            results.append(PictureResult(result.source, None, result.poses, result.problems))
    folders = [writer.folder for writer in writers if isinstance(writer, ImageWriter)]
    return results, folders[0] if folders else None


def _open_boxes(boxes: Path, paths: list[Path]) -> BoxesFile | BoxesFolder:
    file = BoxesFolder(boxes) if boxes.is_dir() else BoxesFile(boxes)
    if not any(file.knows(str(path)) for path in paths):
        fail(f"{boxes} says nothing about any of the {len(paths)} pictures; do its file names match theirs?")
    return file


def _refuse_to_overwrite(paths: list[Path], folder: Path) -> None:
    """Drawn pictures must not take the place of those that they are drawn from."""
    if any(path.resolve().parent == folder.resolve() for path in paths):
        fail(f"drawn pictures would go to {folder}, which holds the pictures themselves; choose another --out")


def _checked_writer(name: str) -> str:
    if name not in WRITERS:
        fail(f"--save {name!r}: there are {', '.join(WRITERS)}")
    return name


def _show(results: list[PictureResult]) -> None:
    table = Table("picture", "people", "best score")
    for result in results[:_MOST_ROWS]:
        best = f"{result.poses[0].score:.2f}" if result.poses else "-"
        table.add_row(escape(result.source), str(len(result.poses)), best)
    if len(results) > _MOST_ROWS:
        table.add_row(f"... and {len(results) - _MOST_ROWS} more", "", "")
    Console().print(table)
    failed = sum(bool(result.problems) for result in results)
    people = sum(len(result.poses) for result in results)
    typer.echo(f"{len(results)} pictures, {people} people" + (f", {failed} pictures with problems" if failed else ""))
