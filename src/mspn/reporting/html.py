"""The frame of a report: one HTML file that needs nothing beside it, on light and on dark screens."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

# Lines: colors that people with any color vision tell apart.
_COLORS = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1c1e21; --faint: #666c75; --edge: #e2e3e0;
  --line-0: #2a78d6; --line-1: #d95926; --line-2: #128a5e; --line-3: #b07a00; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181b; --card: #202226; --ink: #e6e7e9; --faint: #9aa0a8; --edge: #34373c;
    --line-0: #5a9df0; --line-1: #f08050; --line-2: #35b88a; --line-3: #d9a53a; } }
"""
_PAGE_STYLE = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 24px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 12px; }
p { margin: 4px 0 12px; }
.faint, figcaption small { color: var(--faint); }
.tiles, .charts { display: grid; gap: 14px; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); margin-top: 18px; }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(380px, 100%), 1fr)); }
.tiles > div, figure, .scroll { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; }
.tiles > div { padding: 10px 14px; }
.tiles b { display: block; font-size: 22px; font-weight: 600; overflow-wrap: anywhere; }
figure { margin: 0; padding: 12px 14px 8px; }
figcaption { font-weight: 600; }
figcaption small { float: right; font-weight: 400; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; margin: 2px 0 4px; }
.legend i { display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 6px;
  vertical-align: middle; }
svg { display: block; width: 100%; height: auto; }
img { display: block; width: 100%; border-radius: 8px; }
.scroll { overflow-x: auto; margin-bottom: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { text-align: left; vertical-align: top; padding: 5px 14px; border-bottom: 1px solid var(--edge); }
tr:last-child td { border-bottom: 0; }
th { color: var(--faint); font-weight: 500; white-space: nowrap; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; min-width: 70px; }
td:first-child { white-space: nowrap; }
summary { cursor: pointer; margin-bottom: 10px; }
"""
_CHART_STYLE = """
svg text { font-size: 11.5px; fill: var(--faint); }
svg .grid { stroke: var(--edge); } svg .tick { stroke: var(--faint); }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .band { fill: transparent; } svg .band:hover { fill: var(--ink); fill-opacity: .09; }
.line-0 { stroke: var(--line-0); } .line-1 { stroke: var(--line-1); } .line-2 { stroke: var(--line-2); }
.line-3 { stroke: var(--line-3); }
.mark.line-0, .legend .line-0 { fill: var(--line-0); background: var(--line-0); }
.mark.line-1, .legend .line-1 { fill: var(--line-1); background: var(--line-1); }
.mark.line-2, .legend .line-2 { fill: var(--line-2); background: var(--line-2); }
.mark.line-3, .legend .line-3 { fill: var(--line-3); background: var(--line-3); }
"""


def render_page(title: str, body: Iterable[str]) -> str:
    """An HTML document of parts that are HTML already; it may load nothing and run no script."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';"""
            """ img-src data:">""",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_COLORS}{_PAGE_STYLE}{_CHART_STYLE}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def render_title(title: str, note: str) -> str:
    """The page's title, and a line below it."""
    return f'<h1>{escape(title)}</h1><p class="faint">{escape(note)}</p>'


def render_section(title: str, *parts: str) -> str:
    """Parts that are HTML already, below a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def render_note(text: str) -> str:
    """A line of plain text, for what is missing."""
    return f'<p class="faint">{escape(text)}</p>'


def render_details(summary: str, content: str) -> str:
    """Content, HTML already, that unfolds on a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def render_image(description: str, jpeg: bytes) -> str:
    """A JPEG inside the page."""
    data = base64.b64encode(jpeg).decode()
    return f'<img alt="{escape(description)}" src="data:image/jpeg;base64,{data}">'


def render_charts(figures: Sequence[str]) -> str:
    """Figures in columns."""
    return f'<div class="charts">{"".join(figures)}</div>'


def render_tiles(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Headline numbers: (what it is, its value, a note)."""
    cells = "".join(
        f'<div><span class="faint">{escape(name)}</span><b>{escape(value)}</b>'
        f'<small class="faint">{escape(note)}</small></div>'
        for name, value, note in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ["<tr>" + "".join(f"<td>{escape(value)}</td>" for value in row) + "</tr>" for row in rows]
    return f'<div class="scroll"><table><tr>{cells}</tr>{"".join(lines)}</table></div>'


def render_figure(title: str, last: str, legend: Sequence[str], svg: str) -> str:
    """A chart below its title, its last value and, where there are several lines, their names."""
    names = "".join(f'<span><i class="line-{index}"></i>{escape(name)}</span>' for index, name in enumerate(legend))
    legend_row = f'<div class="legend">{names}</div>' if len(legend) > 1 else ""
    return f"<figure><figcaption>{escape(title)} <small>{escape(last)}</small></figcaption>{legend_row}{svg}</figure>"
