"""Reports as one HTML file that needs nothing beside it, on light and on dark screens; and their charts as SVG.

A page is described by the classes here and rendered by `template.html.j2`, which escapes all text. Charts are lines
over a scale, and bars.
"""

import base64
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from mspn.errors import MspnError

logger = logging.getLogger(__name__)

_VIEW_WIDTH, _VIEW_HEIGHT = 560, 246
_LEFT, _RIGHT = 60, 540
_TOP, _BOTTOM = 10, 210
"""Edges of the plot within the view."""
_MAX_LINEAR_STEPS = 5
_MAX_LOG_TICKS = 8
_MAX_MARKS = 40
"""If a line has more points, only the last one is marked."""


class Series(NamedTuple):
    """A line of a chart."""

    name: str
    values: Sequence[float | None]
    """One per x; None if missing."""


class Chart(NamedTuple):
    """Lines over a common x axis."""

    title: str
    x: Sequence[float]
    """Rising, from 0 or above, with the last above 0; the axis begins at 0."""
    x_label: str
    point_names: Sequence[str]
    """Titles of the tooltips, one per x."""
    series: Sequence[Series]
    scale: Literal["linear", "log"] = "linear"
    """On a logarithmic axis, values that are not above 0 are left out."""
    limits: tuple[float, float] | None = None
    """Lowest and highest value that the axis must show; None: a linear axis goes from 0 to the highest value of the
    series, a logarithmic one from the lowest."""
    gaps: Literal["bridged", "open"] = "bridged"
    """Whether lines go on over missing values."""


def draw_chart(chart: Chart) -> str:
    """Draw a chart as an SVG element.

    Lines have the classes line-0, line-1, ..., which a style sheet colors, as it does axis, grid, mark and band.
    Hovering over an x shows all values there.
    """
    drawable = [[_drawable(value, chart.scale) for value in series.values] for series in chart.series]
    present = [value for values in drawable for value in values if value is not None]
    low, high = chart.limits or (min(present, default=0.0), max(present, default=0.0))
    if chart.scale == "log" and high > 0:
        ticks = _log_ticks(low, high)
    else:
        ticks = _linear_ticks(high, low=low if chart.limits else 0.0)
    x_ticks = _linear_ticks(chart.x[-1], must_reach=False)
    xs_px = [_LEFT + (_RIGHT - _LEFT) * value / chart.x[-1] for value in chart.x]
    parts = [
        f'<svg viewBox="0 0 {_VIEW_WIDTH} {_VIEW_HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *(_draw_row(_y_px(tick, ticks, chart.scale), format_number(tick)) for tick in ticks),
        *(_draw_column(_LEFT + (_RIGHT - _LEFT) * tick / chart.x[-1], format_number(tick)) for tick in x_ticks),
        f'<text class="axis" x="{_RIGHT}" y="{_VIEW_HEIGHT - 4}" text-anchor="end">{escape(chart.x_label)}</text>',
    ]
    for number, values in enumerate(drawable):
        points = [
            None if value is None else (x, _y_px(value, ticks, chart.scale))
            for x, value in zip(xs_px, values, strict=True)
        ]
        parts += [_draw_line(number, run) for run in _join(points, chart.gaps)]
    parts += _draw_bands(chart, xs_px)
    return "\n".join([*parts, "</svg>"])


def format_number(value: float) -> str:
    """Format a number with at most four digits: 5e-4, 0.25, 1235, 14k, 2.5M."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.4g}k"
    if 0 < abs(value) < 1e-3:
        digits, exponent = f"{value:.3e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{value:.4g}"


def _drawable(value: float | None, scale: Literal["linear", "log"]) -> float | None:
    if value is None or not math.isfinite(value) or (scale == "log" and value <= 0):
        return None
    return value


def _linear_ticks(high: float, *, low: float = 0.0, must_reach: bool = True) -> list[float]:
    """Multiples of a round step from at most `low` to at least `high`, or to at most `high` without `must_reach`."""
    if high <= low:
        return [low, low + 1.0]
    rough = (high - low) / _MAX_LINEAR_STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9) if must_reach else math.floor(high / step + 1e-9)
    return [step * index for index in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around `low` and `high`; only powers of ten where these are more than eight."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    first = max(index for index, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    last = next(index for index, tick in enumerate(ticks) if tick >= high * (1 - 1e-9) and index > first)
    chosen = ticks[first : last + 1]
    return chosen if len(chosen) <= _MAX_LOG_TICKS else [10.0**power for power in powers]


def _y_px(value: float, ticks: Sequence[float], scale: Literal["linear", "log"]) -> float:
    """Vertical position of a value in the view; the axis goes from the first to the last tick."""
    low, high = ticks[0], ticks[-1]
    if scale == "log" and low > 0:
        low, high, value = math.log10(low), math.log10(high), math.log10(value)
    return _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low)


def _draw_row(y: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}"/>'
        f'<text class="axis" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _draw_column(x: float, label: str) -> str:
    return (
        f'<line class="tick" x1="{x:.1f}" y1="{_BOTTOM}" x2="{x:.1f}" y2="{_BOTTOM + 4}"/>'
        f'<text class="axis" x="{x:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{label}</text>'
    )


def _join(
    points: Sequence[tuple[float, float] | None], gaps: Literal["bridged", "open"]
) -> list[list[tuple[float, float]]]:
    """The points of each line to draw; None where there is a gap."""
    if gaps == "bridged":
        return [[point for point in points if point is not None]]
    runs = [[point for point in run if point is not None] for _, run in groupby(points, lambda point: point is None)]
    return [run for run in runs if run]


def _draw_line(number: int, points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marked = points if len(points) <= _MAX_MARKS else points[-1:]
    marks = "".join(f'<circle class="mark line-{number}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in marked)
    return f'<polyline class="line line-{number}" points="{path}"/>{marks}'


def _draw_bands(chart: Chart, xs_px: Sequence[float]) -> list[str]:
    """Invisible columns, one per x, whose tooltip lists all values there."""
    middles = [(left + right) / 2 for left, right in pairwise(xs_px)]
    bands = []
    for index, (left, right) in enumerate(zip([_LEFT, *middles], [*middles, _RIGHT], strict=True)):
        values = [(series.name, series.values[index]) for series in chart.series]
        lines = [f"{name}: {format_number(value)}" for name, value in values if value is not None]
        bands.append(
            f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{_BOTTOM - _TOP}">'
            f"<title>{escape(chr(10).join([chart.point_names[index], *lines]))}</title></rect>"
        )
    return bands


_BARS_WIDTH = 560
_BARS_LEFT, _BARS_RIGHT = 120, 460
"""Start of the bars and end of the longest one; the text is to the right of it."""
_ROW_HEIGHT, _BAR_HEIGHT = 24, 14


class Bar(NamedTuple):
    """A row of one part, or of several parts side by side."""

    name: str
    parts: Sequence[float]
    """Negative ones have no length."""
    text: str
    """To the right of the bar."""


def draw_bars(title: str, bars: Sequence[Bar], *, full: float | None = None, parts: Sequence[str] = ("",)) -> str:
    """Draw horizontal bars as an SVG element.

    Parts have the classes line-0, line-1, ... of a chart's lines.

    Args:
        title: for screen readers.
        bars: from top to bottom.
        full: value of a bar over the whole width; None takes the longest.
        parts: their names, for tooltips.
    """
    longest = full or max((sum(part for part in bar.parts if part > 0) for bar in bars), default=0.0) or 1.0
    height = _ROW_HEIGHT * len(bars)
    lines = [f'<svg viewBox="0 0 {_BARS_WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for row, bar in enumerate(bars):
        top = row * _ROW_HEIGHT + (_ROW_HEIGHT - _BAR_HEIGHT) / 2
        baseline = row * _ROW_HEIGHT + _ROW_HEIGHT / 2 + 4
        lines.append(f'<text x="{_BARS_LEFT - 8}" y="{baseline:.1f}" text-anchor="end">{escape(bar.name)}</text>')
        left = float(_BARS_LEFT)
        for number, (name, part) in enumerate(zip(parts, bar.parts, strict=True)):
            width = (_BARS_RIGHT - _BARS_LEFT) * max(part, 0.0) / longest
            if width:
                tooltip = f"<title>{escape(f'{bar.name}, {name}' if name else bar.name)}: {part:.3f}</title>"
                lines.append(
                    f'<rect class="mark line-{number}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}"'
                    f' height="{_BAR_HEIGHT}" stroke="none">{tooltip}</rect>'
                )
            left += width
        lines.append(f'<text x="{left + 6:.1f}" y="{baseline:.1f}">{escape(bar.text)}</text>')
    return "\n".join([*lines, "</svg>"])


_TEMPLATE = "template.html.j2"


@contextmanager
def optional_output(name: str) -> Iterator[None]:
    """Log what stops a page, sheet or analysis from being written: the results beside it are worth more."""
    try:
        yield
    except (MspnError, OSError) as error:
        logger.warning("no %s: %s", name, error)
    except Exception as error:  # a bug here must not cost the work of hours
        logger.warning("no %s: %s: %s", name, type(error).__name__, error)
        logger.debug("traceback", exc_info=True)


@dataclass(frozen=True)
class Note:
    """A paragraph of plain text."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Table:
    """A table of plain text."""

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Iterable[Sequence[str]]


@dataclass(frozen=True)
class Details:
    """A table that unfolds on a click."""

    kind: ClassVar[str] = "details"
    summary: str
    table: Table


@dataclass(frozen=True)
class Jpeg:
    """An image inside the page."""

    kind: ClassVar[str] = "jpeg"
    description: str
    content: bytes

    @property
    def base64(self) -> str:
        """The file's content as a data address holds it."""
        return base64.b64encode(self.content).decode()


@dataclass(frozen=True)
class Figure:
    """A chart below its title and a remark, such as its last value."""

    title: str
    remark: str
    svg: str
    """The chart as an SVG element, which is not escaped."""
    legend: Sequence[str] = ()
    """Names of its lines; shown where there are several."""


@dataclass(frozen=True)
class Figures:
    """Charts in columns."""

    kind: ClassVar[str] = "figures"
    figures: Sequence[Figure]


Block: TypeAlias = Note | Table | Details | Jpeg | Figures


@dataclass(frozen=True)
class Tile:
    """A headline number."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Blocks below a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    """Of the browser's window."""
    heading: str
    note: str
    """A line below the heading."""
    sections: Sequence[Section]
    tiles: Sequence[Tile] = ()


def render_page(page: Page) -> str:
    """The page as an HTML document that loads nothing and runs no script."""
    return _load_template().render(page=page)


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(_TEMPLATE)
