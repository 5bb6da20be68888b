"""report.html of a run folder: progress, curves, data and settings on one page."""

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from mspn.checkpoints.metadata import TrainingSession
from mspn.config.recipe import AnyRecipe
from mspn.config.recipes import find_any_recipe
from mspn.errors import InvalidValueError
from mspn.io.files import write_text
from mspn.reporting import (
    Block,
    Chart,
    Details,
    Figure,
    Figures,
    Jpeg,
    Note,
    Page,
    Section,
    Series,
    Table,
    Tile,
    draw_chart,
    format_number,
    render_page,
)
from mspn.structures.settings import flatten
from mspn.training.checkpoint import RECIPE_FILE, load_recipe
from mspn.training.environment import changed_files, read_sessions
from mspn.training.metrics import TrainingMetrics, read_metrics
from mspn.training.sample_sheets import SHEET_FILE

REPORT_FILE = "report.html"
_VALIDATED = ("AP", "AP50", "AP75")
"""Of COCO's ten numbers, those that are drawn."""


def write_report(run: Path) -> Path:
    """Write report.html into a run folder; the page says which files are not there yet.

    Returns:
        Path of the report.

    Raises:
        ValueError: if the folder holds no run, or a file of it is damaged.
    """
    if not (run / RECIPE_FILE).is_file():
        raise InvalidValueError(f"{run} is no run folder (it has no {RECIPE_FILE}); give the --out of `mspn train`")
    recipe = load_recipe(run)
    rows = read_metrics(run)
    sessions = read_sessions(run)
    now = datetime.now(timezone.utc)
    page = Page(
        title=f"{recipe.name}: training",
        heading=recipe.name,
        note=f"{recipe.model.summary}; written {now:%Y-%m-%d %H:%M} UTC",
        tiles=_headline(recipe, rows),
        sections=[
            Section("Curves", [_draw_curves(rows)]),
            Section("Training crops", _show_crops(run / SHEET_FILE)),
            Section("Data", [_tabulate_data(sessions)]),
            Section("Recipe", _tabulate_settings(recipe)),
            Section("Sessions", [_tabulate_sessions(sessions)]),
        ],
    )
    path = run / REPORT_FILE
    write_text(path, render_page(page))
    return path


def _headline(recipe: AnyRecipe, rows: Sequence[TrainingMetrics]) -> list[Tile]:
    planned = f"of {recipe.train.iterations:,}"
    if not rows:
        return [Tile("iterations", "0", planned)]
    last = rows[-1]
    hours, minutes = divmod(round(last.seconds / 60), 60)
    validated = [(row.validation["AP"], row.iteration) for row in rows if row.validation is not None]
    precision, iteration = max(validated, key=itemgetter(0), default=(None, None))  # the first of equals
    best = ("-", "not validated") if precision is None else (f"{precision:.3f}", f"at iteration {iteration:,}")
    return [
        Tile("iterations", f"{last.iteration:,}", planned),
        Tile("best AP", *best),
        Tile("loss", format_number(last.loss), f"up to iteration {last.iteration:,}"),
        Tile("samples per second", format_number(last.samples_per_second), f"up to iteration {last.iteration:,}"),
        Tile("time", f"{hours} h {minutes} min", "over all sessions"),
    ]


def _draw_curves(rows: Sequence[TrainingMetrics]) -> Block:
    if not rows:
        return Note("There are no metrics yet, so there are no curves.")
    validated = [
        Series(name, [None if row.validation is None else row.validation.get(name) for row in rows])
        for name in _VALIDATED
    ]
    figures = [
        _draw_figure("Loss", rows, [Series("loss", [row.loss for row in rows])], scale="log"),
        *_draw_stages(rows),
    ]
    if any(value is not None for curve in validated for value in curve.values):
        figures.append(_draw_figure("Average precision", rows, validated))
    for title, values, limits in (
        ("Learning rate", [row.learning_rate for row in rows], None),
        ("Samples per second", [row.samples_per_second for row in rows], None),
        ("Waiting for data, % of the time", [100 * row.waiting_share for row in rows], (0.0, 100.0)),
        ("Peak memory, MiB", [row.memory_mib for row in rows], None),
    ):
        figures.append(_draw_figure(title, rows, [Series(title, values)], limits=limits))
    return Figures(figures)


def _draw_stages(rows: Sequence[TrainingMetrics]) -> list[Figure]:
    """A chart per stage with a line per level; all share an axis, so that they compare."""
    parts = [loss for row in rows for levels in row.losses for loss in levels if 0 < loss < math.inf]
    if not parts:
        return []
    figures = []
    for stage in range(len(rows[-1].losses)):
        by_level = zip(*(row.losses[stage] for row in rows), strict=True)
        # A stage may have fewer levels than others, whose losses then stay 0.
        levels = [list(losses) for losses in by_level if any(losses)]
        series = [Series(_level_name(index, len(levels)), losses) for index, losses in enumerate(levels)]
        if series:
            title = f"Loss of stage {stage + 1}, weighted"
            figures.append(_draw_figure(title, rows, series, scale="log", limits=(min(parts), max(parts))))
    return figures


def _level_name(index: int, num_levels: int) -> str:
    if index == 0:
        return "finest level"
    return "coarsest" if index == num_levels - 1 else f"level {index + 1}"


def _draw_figure(
    title: str,
    rows: Sequence[TrainingMetrics],
    series: Sequence[Series],
    *,
    scale: Literal["linear", "log"] = "linear",
    limits: tuple[float, float] | None = None,
) -> Figure:
    chart = Chart(
        title=title,
        x=[row.iteration for row in rows],
        x_label="iteration",
        point_names=[f"epoch {row.epoch}, iteration {row.iteration:,}" for row in rows],
        series=series,
        scale=scale,
        limits=limits,
    )
    last = [value for value in series[0].values if value is not None][-1:]
    legend = [curve.name for curve in series]
    return Figure(title, "".join(map(format_number, last)), draw_chart(chart), legend)


def _show_crops(path: Path) -> list[Block]:
    if not path.is_file():
        return [Note(f"There is no {path.name}; training writes it when it starts.")]
    note = f"The first ones, as the network gets them; {path.name} in the run folder is the same image."
    return [Note(note), Jpeg("training crops with their targets", path.read_bytes())]


def _tabulate_data(sessions: Sequence[TrainingSession]) -> Block:
    if not sessions:
        return Note("Unknown: the folder has no environment.json.")
    changed = changed_files(sessions[0].data, sessions[-1].data)
    rows = []
    for labels in sessions[-1].data:
        for name, digest in labels.files.items():
            note = "changed since the first session" if name in changed else ""
            rows.append((name, f"{labels.images:,}", f"{labels.people:,}", digest, note))
    return Table(("labels", "images", "people", "SHA-256", ""), rows)


def _tabulate_settings(recipe: AnyRecipe) -> list[Block]:
    """What differs from the named recipe, then everything."""
    settings = flatten(recipe.model_dump(mode="json"))
    everything = Details("All settings", Table(("setting", "value"), list(settings.items())))
    try:
        named = flatten(find_any_recipe(recipe.name).model_dump(mode="json"))
    except ValueError:  # a recipe of the user
        return [everything]
    differing = [(name, value, named.get(name, "-")) for name, value in settings.items() if value != named.get(name)]
    if not differing:
        return [Note(f"As the recipe {recipe.name} says."), everything]
    return [Table(("setting", "value", f"in the recipe {recipe.name}"), differing), everything]


def _tabulate_sessions(sessions: Sequence[TrainingSession]) -> Block:
    """A column per session."""
    if not sessions:
        return Note("Unknown: the folder has no environment.json.")
    fields = [name for name in TrainingSession.model_fields if name != "data"]
    rows = [(name, *(_format_value(getattr(session, name)) for session in sessions)) for name in fields]
    return Table(("", *(f"session {number}" for number in range(1, len(sessions) + 1))), rows)


def _format_value(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "unknown" if value is None else str(value)
