"""mspn train and report: train a recipe, and report on a run folder."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from mspn.cli.data import CategoryOption
from mspn.cli.options import refuse_unused
from mspn.cli.printing import KILLED, SafeConsole, echo, fail, one_line_errors
from mspn.cli.progress import ProgressLines, time_left
from mspn.config.embedded_recipes import FINETUNE
from mspn.config.recipe import AnyRecipe, Recipe, override, with_skeleton
from mspn.config.recipes import find_any_recipe
from mspn.distributed import Processes, is_restart, joined_processes
from mspn.errors import TrainingStoppedError
from mspn.inference.devices import keep_freed_memory
from mspn.io.files import prepare_folder
from mspn.labels.reading import OtherKeypointsError
from mspn.training.checkpoint import BEST_FILE, RECIPE_FILE, load_recipe
from mspn.training.finetuning import FinetuningPlan, plan_finetuning
from mspn.training.html_report import write_report
from mspn.training.loop import train
from mspn.training.metrics import IterationReport, ReportIteration, ReportValidation

logger = logging.getLogger(__name__)

_FINETUNE_OPTIONS = ("source", "labels", "images", "category")


def train_command(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help=f"Name of a recipe, for example mspn-small; {FINETUNE} makes one for labels of yours.")
    ],
    out: Annotated[Path, typer.Option(help="Run folder: recipe, checkpoints, metrics, weights.")],
    source: Annotated[
        str, typer.Option("--from", help=f"{FINETUNE}: the weights to start from, a name or a file.")
    ] = "default",
    labels: Annotated[
        Path | None, typer.Option("--data", help=f"{FINETUNE}: labels of any keypoints; a fifth is held out.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help=f"{FINETUNE}: folder of the images, if it is not `images` beside the labels.")
    ] = None,
    category: CategoryOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the run folder's last checkpoint.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting, e.g. train.batch_size=8.")
    ] = None,
) -> None:
    """Train a recipe and keep everything in a run folder.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m mspn train RECIPE --out RUN.
    """
    keep_freed_memory()
    with one_line_errors(), joined_processes() as processes:
        if not processes.is_first:
            logging.getLogger("mspn").setLevel(logging.WARNING)
        resumes = resume or is_restart()
        if recipe != FINETUNE:
            refuse_unused(context, _FINETUNE_OPTIONS, f"is an option of mspn train {FINETUNE}; set data.train here")

        def plan() -> FinetuningPlan:
            if labels is None:
                fail(f"give --data to {FINETUNE}: a file of labels, of any format that `mspn data convert` reads")
            return plan_finetuning(source, labels, out, images=images, category=category)

        resolved, made = _resolve(recipe, out, resumes, settings or [], plan)
        with _new_folders_removed_on_failure(out), _display(resolved, processes) as display:
            prepare_folder(out)
            if made is not None and processes.is_first:
                made.write_labels(out)
            try:
                weights = _train_labeled(resolved, out, resumes, settings or [], processes, display)
            except TrainingStoppedError as stopped:
                _print_how_to_resume(stopped, recipe, out, processes)
                raise typer.Exit(KILLED + stopped.signal_number) from None
    if processes.is_first:
        echo(f"weights: {weights}")
        if (best := out / BEST_FILE).is_file():
            echo(f"the best on data.validation: {best}")


def _train_labeled(
    recipe: AnyRecipe, out: Path, resume: bool, settings: Sequence[str], processes: Processes, display: "_Display"
) -> Path:
    """Train a recipe, for the labels' own keypoints where those are of other bodies and nobody names a skeleton."""
    try:
        return train(recipe, out, resume=resume, processes=processes, **display._asdict())
    except OtherKeypointsError as error:
        given = {assignment.partition("=")[0].strip() for assignment in settings}
        if not isinstance(recipe, Recipe) or error.labeled is None or resume or "skeleton" in given:
            raise
        if "data.train" not in given:
            raise
        logger.warning(
            "keypoints are those of the labels, not of %s (--set skeleton= names others): %s",
            recipe.keypoint_table.name,
            ", ".join(error.labeled.keypoints),
        )
        recipe = with_skeleton(recipe, error.labeled)
    return train(recipe, out, resume=resume, processes=processes, **display._asdict())


@contextmanager
def _new_folders_removed_on_failure(out: Path) -> Iterator[None]:
    """After an error, remove the run folder and its parents if they are new and empty."""
    new_folders = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in new_folders:
                folder.rmdir()
        raise


def _resolve(
    name: str, out: Path, resume: bool, settings: list[str], plan: Callable[[], FinetuningPlan]
) -> tuple[AnyRecipe, FinetuningPlan | None]:
    """The recipe with its settings, and how it was made if that was just now."""
    if (out / RECIPE_FILE).is_file():
        if not resume:
            fail(f"{out} already holds a run; add --resume to go on with it, or choose another --out")
        recipe = load_recipe(out)
        if recipe.name != name:
            fail(f"{out} holds a run of {recipe.name}, not of {name}")
        return override(recipe, settings), None
    if name == FINETUNE:
        made = plan()
        return override(made.recipe, settings), made
    return override(find_any_recipe(name), settings), None


def _print_how_to_resume(stopped: TrainingStoppedError, recipe: str, out: Path, processes: Processes) -> None:
    if processes.is_first:
        echo(f"{stopped}; the checkpoint is written. Go on with: mspn train {recipe} --out {out} --resume", err=True)


class _Display(NamedTuple):
    """Shows the progress of training."""

    report: ReportIteration
    report_validation: ReportValidation


@contextmanager
def _display(recipe: AnyRecipe, processes: Processes) -> Iterator[_Display]:
    """On a terminal of the first process a bar with losses and speed below it, without a terminal lines."""
    console = SafeConsole(stderr=True)
    if not processes.is_first:
        yield _Display(lambda _report: None, lambda _done, _total: None)
        return
    if not console.is_terminal:
        lines = ProgressLines()
        yield _Display(
            lambda report: lines.print(lambda: _line(report, recipe)),
            lambda done, total: lines.print(lambda: _validating(done, total)),
        )
        return
    bar = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=60,
        auto_refresh=False,
    )
    task = bar.add_task("training", total=recipe.train.iterations)
    details = Text()

    def show(report: IterationReport) -> None:
        bar.update(task, completed=report.iteration)
        details.plain = describe(report)

    def show_validation(done: int, total: int) -> None:
        details.plain = _validating(done, total)

    with Live(Group(bar, details), console=console, refresh_per_second=4), _logs_above():
        yield _Display(show, show_validation)


def _line(report: IterationReport, recipe: AnyRecipe) -> str:
    iterations, batch_size = recipe.train.iterations, recipe.train.batch_size
    left = (iterations - report.iteration) * batch_size / report.samples_per_second
    return (
        f"iteration {report.iteration} of {iterations}: loss {sum(map(sum, report.losses)):.2f},"
        f" {_speed(report)}, about {time_left(left)} left"
    )


def _validating(done: int, total: int) -> str:
    return f"validating: {done} of {total} images"


@contextmanager
def _logs_above() -> Iterator[None]:
    """Send log lines to the standard error that `Live` has installed, so that they appear above the display."""
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler)]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)


def describe(report: IterationReport) -> str:
    """Two lines about an iteration: losses by stage and level; speed, waiting, learning rate, memory, AP."""
    stages = " | ".join(" ".join(f"{loss:.1f}" for loss in levels) for levels in report.losses)
    precision = f", AP {report.average_precision:.3f}" if report.average_precision is not None else ""
    return (
        f"loss {sum(map(sum, report.losses)):.1f} = {stages} (stages, fine to coarse)\n"
        f"{_speed(report)}, rate {report.learning_rate:.2e}, {report.memory_mib:.0f} MiB{precision}"
    )


def _speed(report: IterationReport) -> str:
    return f"{report.samples_per_second:.1f} samples/s, {report.waiting_share:.0%} waiting for data"


def report_command(run: Annotated[Path, typer.Argument(help="Run folder: the --out of `mspn train`.")]) -> None:
    """Write report.html into a run folder: progress, settings and environment of the training."""
    with one_line_errors():
        path = write_report(run)
    echo(f"report: {path}")
