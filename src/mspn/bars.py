"""Horizontal bars as SVG, for the same reports as `mspn.chart`."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_VIEW_WIDTH = 560
_LEFT, _RIGHT = 120, 460
"""Where bars begin, and where the longest may end; its number stands beyond."""
_ROW_HEIGHT, _BAR_HEIGHT = 24, 14


class Bar(NamedTuple):
    """A row: one part, or several one after another."""

    name: str
    parts: Sequence[float]
    """Negative ones have no length."""
    text: str
    """What stands behind it."""


def draw_bars(title: str, bars: Sequence[Bar], *, full: float | None = None, parts: Sequence[str] = ("",)) -> str:
    """Draw bars below each other as an SVG element.

    Parts have the classes line-0, line-1, ... of a chart's lines.

    Args:
        title: for people who do not see the picture.
        bars: from top to bottom.
        full: value of a bar over the whole width; None takes the longest.
        parts: their names, for tooltips.
    """
    longest = full or max((sum(part for part in bar.parts if part > 0) for bar in bars), default=0.0) or 1.0
    height = _ROW_HEIGHT * len(bars)
    lines = [f'<svg viewBox="0 0 {_VIEW_WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for row, bar in enumerate(bars):
        top = row * _ROW_HEIGHT + (_ROW_HEIGHT - _BAR_HEIGHT) / 2
        baseline = row * _ROW_HEIGHT + _ROW_HEIGHT / 2 + 4
        lines.append(f'<text x="{_LEFT - 8}" y="{baseline:.1f}" text-anchor="end">{escape(bar.name)}</text>')
        left = float(_LEFT)
        for number, (name, part) in enumerate(zip(parts, bar.parts, strict=True)):
            width = (_RIGHT - _LEFT) * max(part, 0.0) / longest
            if width:
                tooltip = f"<title>{escape(f'{bar.name}, {name}' if name else bar.name)}: {part:.3f}</title>"
                lines.append(
                    f'<rect class="mark line-{number}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}"'
                    f' height="{_BAR_HEIGHT}" stroke="none">{tooltip}</rect>'
                )
            left += width
        lines.append(f'<text x="{left + 6:.1f}" y="{baseline:.1f}">{escape(bar.text)}</text>')
    return "\n".join([*lines, "</svg>"])
