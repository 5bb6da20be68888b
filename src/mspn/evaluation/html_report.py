"""report.html of an evaluation: numbers, errors and the worst people, in one file that opens anywhere."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from mspn.evaluation.analysis import Analysis
from mspn.evaluation.analysis.calibration import NUM_BINS, Calibration
from mspn.evaluation.analysis.error_types import ERRORS
from mspn.evaluation.analysis.groups import GroupPrecision
from mspn.evaluation.report import Report
from mspn.io.files import write_text
from mspn.reporting.charts import Bar, Chart, Series, draw_bars, draw_chart
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

PAGE_FILE = "report.html"
_HEADLINE = 4
"""Numbers that stand at the top."""
_KINDS = [kind.name.lower() for kind in ERRORS]
_ALL = "all keypoints"
_WORDS = (
    "Jitter: near the right place, but not on it. Inversion: at the place of the other side. Swap: at somebody else's"
    " keypoint. Miss: anywhere else. Order: a worse prediction has the higher score. Background: predictions of nobody."
    " Missed: people without a prediction."
)


def write_page(path: Path, report: Report, worst: Path) -> None:
    """Write a report as one HTML page.

    Args:
        path: of the page.
        report: what it shows.
        worst: image of the worst people; if there is none, the page says so.
    """
    now = datetime.now(timezone.utc)
    body = [
        render_title(report.model, f"on {report.protocol.annotations}; written {now:%Y-%m-%d %H:%M} UTC"),
        render_tiles(_headline(report)),
        render_section("Numbers", _tabulate(report.stats)),
        *([] if report.analysis is None else _explain(report.analysis)),
        render_section("The worst people", _show_worst(worst)),
        render_section("Protocol", _tabulate_protocol(report)),
    ]
    write_text(path, render_page(f"{report.model}: evaluation", body))


def _headline(report: Report) -> list[tuple[str, str, str]]:
    tiles = [(name, f"{value:.3f}", "") for name, value in list(report.stats.items())[:_HEADLINE]]
    if report.analysis is not None:
        missed = f"{report.analysis.missed:,} without a prediction"
        tiles.append(("people", f"{report.analysis.people:,}", missed))
        tiles.append(("predictions of nobody", f"{report.analysis.background:,}", ""))
    return tiles


def _tabulate(stats: Mapping[str, float]) -> str:
    return render_table(list(stats), [[f"{value:.3f}" for value in stats.values()]])


def _explain(analysis: Analysis) -> list[str]:
    calibration = analysis.calibration
    scores = [] if calibration is None else [_draw_calibration(calibration)]
    return [
        render_section(
            "What goes wrong",
            render_note(_WORDS),
            render_charts([_draw_errors(analysis), _draw_gains(analysis.gains)]),
        ),
        render_section("For whom, and at which scores", render_charts([*_draw_groups(analysis.groups), *scores])),
        render_section("Keypoints", render_details("Counts of all outcomes", _tabulate_keypoints(analysis))),
    ]


def _draw_errors(analysis: Analysis) -> str:
    """Shares of the labeled keypoints of predicted people; a row a keypoint, all together first."""
    rows = {_ALL: _sum_counts(analysis)} | analysis.keypoints
    bars = []
    for name, counts in rows.items():
        total = max(1, sum(counts.values()))
        parts = [counts[kind] / total for kind in _KINDS]
        bars.append(Bar(name.replace("_", " "), parts, f"{100 * sum(parts):.0f} %"))
    longest = max((sum(bar.parts) for bar in bars), default=0.0)
    title = "Wrong keypoints"
    svg = draw_bars(title, bars, full=longest or 1.0, parts=_KINDS)
    return render_figure(title, "share of the labeled ones", _KINDS, svg)


def _draw_gains(gains: Mapping[str, float]) -> str:
    bars = [Bar(kind, [gain], f"{gain:+.3f}") for kind, gain in gains.items()]
    title = "AP gained if it were gone"
    return render_figure(title, "each alone", [], draw_bars(title, bars))


def _draw_groups(groups: Sequence[GroupPrecision]) -> list[str]:
    """A figure a quality; all share one scale."""
    figures = []
    for quality in dict.fromkeys(row.quality for row in groups):
        bars = [Bar(row.name, [row.AP], f"{row.AP:.3f} ({row.people:,})") for row in groups if row.quality == quality]
        title = f"AP by {quality}"
        figures.append(render_figure(title, "(people)", [], draw_bars(title, bars, full=1.0)))
    return figures


def _draw_calibration(calibration: Calibration) -> str:
    middles = [(place + 0.5) / NUM_BINS for place in range(NUM_BINS)]
    shares = [None if one is None else one.share_right for one in calibration.bins]
    counts = [0 if one is None else one.keypoints for one in calibration.bins]
    names = [
        f"scores {place / NUM_BINS:.1f} to {(place + 1) / NUM_BINS:.1f}: {count:,} keypoints"
        for place, count in enumerate(counts)
    ]
    title = "Share of keypoints that are right, by score"
    chart = Chart(
        title=title,
        x=[*middles, 1.0],
        x_label="score",
        point_names=[*names, ""],
        series=[Series("right (similarity from 0.5 on)", [*shares, None]), Series("as promised", [*middles, 1.0])],
        limits=(0.0, 1.0),
    )
    last = f"expected error {calibration.expected_error:.3f}"
    return render_figure(title, last, [one.name for one in chart.series], draw_chart(chart))


def _tabulate_keypoints(analysis: Analysis) -> str:
    rows = {_ALL: _sum_counts(analysis)} | analysis.keypoints
    head = ["", "labeled", *next(iter(rows.values()))]
    return render_table(
        head, [[name, f"{sum(counts.values()):,}", *map(str, counts.values())] for name, counts in rows.items()]
    )


def _sum_counts(analysis: Analysis) -> dict[str, int]:
    return {kind: sum(counts[kind] for counts in analysis.keypoints.values()) for kind in ("good", *_KINDS)}


def _show_worst(path: Path) -> str:
    if not path.is_file():
        return render_note("Not drawn: give --images, the folder of the images.")
    note = render_note("Of those without a prediction, the right half shows predictions of nobody in the image.")
    return note + render_image("the worst people, truth beside prediction", path.read_bytes())


def _tabulate_protocol(report: Report) -> str:
    rows = flatten(report.protocol.model_dump(mode="json")) | flatten(report.versions, "version")
    return render_table(("setting", "value"), rows.items())
