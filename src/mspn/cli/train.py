"""mspn train: train a recipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from mspn.cli.errors import fail, one_line_errors
from mspn.config import Recipe
from mspn.recipes import find_recipe, override
from mspn.train.loop import train
from mspn.train.state import RECIPE_FILE, load_recipe


def train_command(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, for example mspn-small.")],
    out: Annotated[Path, typer.Option(help="Run folder: recipe, checkpoints, metrics, weights.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting, e.g. train.batch_size=8.")
    ] = None,
) -> None:
    """Train a recipe and keep everything in a run folder."""
    with one_line_errors():
        resolved = _resolve(recipe, out, resume, settings or [])
        with _progress(resolved) as report:
            weights = train(resolved, out, resume=resume, report=report)
    typer.echo(f"weights: {weights}")


def _resolve(name: str, out: Path, resume: bool, settings: list[str]) -> Recipe:
    has_run = (out / RECIPE_FILE).is_file()
    if has_run and not resume:
        fail(f"{out} already holds a run; add --resume to go on with it, or choose another --out")
    if has_run:
        recipe = load_recipe(out)
        if recipe.name != name:
            fail(f"{out} holds a run of {recipe.name}, not of {name}")
    else:
        recipe = find_recipe(name)
    return override(recipe, settings)


@contextmanager
def _progress(recipe: Recipe) -> Iterator[Callable[[int, float], None]]:
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        _PeoplePerSecond(recipe.train.batch_size),
        TextColumn("loss {task.fields[loss]:.1f}"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=60,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("training", total=recipe.train.iterations, loss=float("nan"))

        def report(iteration: int, loss: float) -> None:
            bar.update(task, completed=iteration, loss=loss)

        yield report


class _PeoplePerSecond(ProgressColumn):
    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed * self._batch_size:.0f} people/s" if task.speed else "")
