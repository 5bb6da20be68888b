"""report.html: what a run has done so far, in one file that opens anywhere."""

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from mspn.checkpoints.provenance import TrainingSession
from mspn.config.recipe import AnyRecipe
from mspn.config.recipes import find_any_recipe
from mspn.errors import InvalidValueError
from mspn.io.files import write_text
from mspn.reporting.charts import Chart, Series, draw_chart, format_number
from mspn.reporting.html import (
    render_charts,
    render_details,
    render_figure,
    render_image,
    render_note,
    render_page,
    render_section,
    render_table,
    render_tiles,
    render_title,
)
from mspn.structures.settings import flatten
from mspn.training.checkpoint import RECIPE_FILE, load_recipe
from mspn.training.environment import changed_files, read_sessions
from mspn.training.metrics import EpochMetrics, read_metrics
from mspn.training.sample_sheets import SHEET_FILE

REPORT_FILE = "report.html"
_VALIDATED = ("AP", "AP50", "AP75")
"""What is drawn of COCO's ten numbers."""


def write_report(run: Path) -> Path:
    """Write report.html into a run folder, from what is there; what is not there yet, it says.

    Returns:
        Path of the report.

    Raises:
        ValueError: if the folder holds no run, or a file of it is damaged.
    """
    if not (run / RECIPE_FILE).is_file():
        raise InvalidValueError(f"{run} is no run folder (it has no {RECIPE_FILE}); give the --out of `mspn train`")
    recipe = load_recipe(run)
    lines = read_metrics(run)
    sessions = read_sessions(run)
    now = datetime.now(timezone.utc)
    body = [
        render_title(recipe.name, f"{recipe.model.summary}; written {now:%Y-%m-%d %H:%M} UTC"),
        render_tiles(_headline(recipe, lines)),
        render_section("Curves", _draw_curves(lines)),
        render_section("Training crops", _show_crops(run / SHEET_FILE)),
        render_section("Data", _tabulate_data(sessions)),
        render_section("Recipe", _tabulate_settings(recipe)),
        render_section("Sessions", _tabulate_sessions(sessions)),
    ]
    path = run / REPORT_FILE
    write_text(path, render_page(f"{recipe.name}: training", body))
    return path


def _headline(recipe: AnyRecipe, lines: Sequence[EpochMetrics]) -> list[tuple[str, str, str]]:
    planned = f"of {recipe.train.iterations:,}"
    if not lines:
        return [("iterations", "0", planned)]
    last = lines[-1]
    hours, minutes = divmod(round(last.seconds / 60), 60)
    validated = [(line.validation["AP"], line.iteration) for line in lines if line.validation is not None]
    precision, iteration = max(validated, key=lambda one: one[0], default=(None, None))  # the first of equals
    best = ("-", "not validated") if precision is None else (f"{precision:.3f}", f"at iteration {iteration:,}")
    return [
        ("iterations", f"{last.iteration:,}", planned),
        ("best AP", *best),
        ("loss", format_number(last.loss), f"in epoch {last.epoch:,}"),
        ("samples per second", format_number(last.samples_per_second), f"in epoch {last.epoch:,}"),
        ("time", f"{hours} h {minutes} min", "over all sessions"),
    ]


def _draw_curves(lines: Sequence[EpochMetrics]) -> str:
    if not lines:
        return render_note("No epoch is done yet, so there are no curves.")
    validated = [
        Series(name, [None if line.validation is None else line.validation.get(name) for line in lines])
        for name in _VALIDATED
    ]
    figures = [
        _draw_figure("Loss", lines, [Series("loss", [line.loss for line in lines])], scale="log"),
        *_draw_stages(lines),
    ]
    if any(value is not None for one in validated for value in one.values):
        figures.append(_draw_figure("Average precision", lines, validated))
    for title, values, limits in (
        ("Learning rate", [line.learning_rate for line in lines], None),
        ("Samples per second", [line.samples_per_second for line in lines], None),
        ("Waiting for data, % of the time", [100 * line.waiting_share for line in lines], (0.0, 100.0)),
        ("Peak memory, MiB", [line.memory_mib for line in lines], None),
    ):
        figures.append(_draw_figure(title, lines, [Series(title, values)], limits=limits))
    return render_charts(figures)


def _draw_stages(lines: Sequence[EpochMetrics]) -> list[str]:
    """A chart a stage, with a line a level; all share one axis, so that they compare."""
    parts = [loss for line in lines for levels in line.losses for loss in levels if 0 < loss < math.inf]
    if not parts:
        return []
    figures = []
    for stage in range(len(lines[-1].losses)):
        by_level = zip(*(line.losses[stage] for line in lines), strict=True)
        # A stage may have fewer levels than others, whose losses then stay 0.
        levels = [list(losses) for losses in by_level if any(losses)]
        series = [Series(_level_name(index, len(levels)), losses) for index, losses in enumerate(levels)]
        if series:
            title = f"Loss of stage {stage + 1}, weighted"
            figures.append(_draw_figure(title, lines, series, scale="log", limits=(min(parts), max(parts))))
    return figures


def _level_name(index: int, num_levels: int) -> str:
    if index == 0:
        return "finest level"
    return "coarsest" if index == num_levels - 1 else f"level {index + 1}"


def _draw_figure(
    title: str,
    lines: Sequence[EpochMetrics],
    series: Sequence[Series],
    *,
    scale: Literal["linear", "log"] = "linear",
    limits: tuple[float, float] | None = None,
) -> str:
    chart = Chart(
        title=title,
        x=[line.iteration for line in lines],
        x_label="iteration",
        point_names=[f"epoch {line.epoch}, iteration {line.iteration:,}" for line in lines],
        series=series,
        scale=scale,
        limits=limits,
    )
    last = [value for value in series[0].values if value is not None][-1:]
    return render_figure(title, "".join(map(format_number, last)), [one.name for one in series], draw_chart(chart))


def _show_crops(path: Path) -> str:
    if not path.is_file():
        return render_note(f"There is no {path.name}; training writes it when it starts.")
    note = render_note(f"The first ones, as the network gets them; {path.name} in the run folder is the same image.")
    return note + render_image("training crops with their targets", path.read_bytes())


def _tabulate_data(sessions: Sequence[TrainingSession]) -> str:
    if not sessions:
        return render_note("Unknown: the folder has no environment.json.")
    changed = changed_files(sessions[0].data, sessions[-1].data)
    rows = []
    for one in sessions[-1].data:
        for name, digest in one.files.items():
            note = "changed since the first session" if name in changed else ""
            rows.append((name, f"{one.images:,}", f"{one.people:,}", digest, note))
    return render_table(("labels", "images", "people", "SHA-256", ""), rows)


def _tabulate_settings(recipe: AnyRecipe) -> str:
    """What differs from the named recipe, then everything."""
    settings = flatten(recipe.model_dump(mode="json"))
    everything = render_details("All settings", render_table(("setting", "value"), settings.items()))
    try:
        named = flatten(find_any_recipe(recipe.name).model_dump(mode="json"))
    except ValueError:  # somebody's own
        return everything
    differing = [(name, value, named.get(name, "-")) for name, value in settings.items() if value != named.get(name)]
    if not differing:
        return render_note(f"As the recipe {recipe.name} says.") + everything
    return render_table(("setting", "value", f"in the recipe {recipe.name}"), differing) + everything


def _tabulate_sessions(sessions: Sequence[TrainingSession]) -> str:
    """A column a session."""
    if not sessions:
        return render_note("Unknown: the folder has no environment.json.")
    fields = [name for name in TrainingSession.model_fields if name != "data"]
    rows = [(name, *(_written(getattr(session, name)) for session in sessions)) for name in fields]
    return render_table(("", *(f"session {number}" for number in range(1, len(sessions) + 1))), rows)


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "unknown" if value is None else str(value)
