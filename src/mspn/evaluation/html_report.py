"""What explains an evaluation: its analysis, the sheet of the worst people, and report.html with all of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mspn.evaluation.analysis import Analysis, analyze
from mspn.evaluation.analysis.breakdown import GroupPrecision
from mspn.evaluation.analysis.calibration import NUM_BINS, Calibration
from mspn.evaluation.analysis.keypoint_errors import ERRORS
from mspn.evaluation.analysis.worst import draw_worst
from mspn.evaluation.report import REPORT_FILE, RESULTS_FILE, Report, write_report
from mspn.io.files import sha256_of, write_text
from mspn.io.images import write_jpeg
from mspn.labels.formats.coco import CocoPeople
from mspn.reporting.charts import Bar, Chart, Series, draw_bars, draw_chart
from mspn.reporting.html import (
    Block,
    Details,
    Figure,
    Figures,
    Jpeg,
    Note,
    Page,
    Section,
    Table,
    Tile,
    optional_output,
    render_page,
)
from mspn.structures.settings import flatten
from mspn.structures.skeleton import Skeleton

PAGE_FILE = "report.html"
_NUM_HEADLINE_STATS = 4
_KINDS = [kind.name.lower() for kind in ERRORS]
_ALL = "all keypoints"
_KINDS_EXPLAINED = (
    "Jitter: close to the label, but not on it. Inversion: on the opposite side's keypoint. Swap: on another person's"
    " keypoint. Miss: elsewhere. Order: a worse prediction has the higher score. Background: false positives."
    " Missed: people without a prediction."
)


WORST_FILE = "worst.jpg"


def explain(
    report: Report,
    ground_truth: CocoPeople,
    results: Sequence[dict[str, Any]],
    skeleton: Skeleton,
    *,
    images: Path | None,
    out: Path,
) -> Report:
    """Write report.json, analyze the results, and draw the worst people as worst.jpg.

    What cannot be analyzed or drawn is logged; the report is written all the same.

    Args:
        report: of these results.
        ground_truth: the labels that they were scored against.
        results: COCO results list.
        skeleton: of both.
        images: folder of the images; without it no people are drawn.
        out: the report's folder; it holds the results already.

    Returns:
        The report with its analysis, and a digest of results.json.
    """
    report = report.model_copy(update={"results_sha256": sha256_of(out / RESULTS_FILE)})
    write_report(out / REPORT_FILE, report)
    (out / WORST_FILE).unlink(missing_ok=True)  # of an earlier evaluation
    with optional_output("analysis"):
        diagnosed = analyze(ground_truth, results, skeleton)
        report = report.model_copy(update={"analysis": diagnosed.analysis})
        with optional_output(WORST_FILE):
            sheet = None if images is None else draw_worst(ground_truth, diagnosed, images, skeleton)
            if sheet is not None:
                write_jpeg(out / WORST_FILE, sheet)
    return report


def write_page(path: Path, report: Report, worst: Path) -> None:
    """Write a report as one HTML page.

    Args:
        path: of the page.
        report: what it shows.
        worst: image of the worst people; if it is missing, the page says so.
    """
    now = datetime.now(timezone.utc)
    page = Page(
        title=f"{report.model}: evaluation",
        heading=report.model,
        note=f"on {report.protocol.annotations}; written {now:%Y-%m-%d %H:%M} UTC",
        tiles=_headline(report),
        sections=[
            Section("Numbers", [_tabulate(report.stats)]),
            *([] if report.analysis is None else _analysis_sections(report.analysis)),
            Section("The worst people", _show_worst(worst)),
            Section("Protocol", [_tabulate_protocol(report)]),
        ],
    )
    write_text(path, render_page(page))


def _headline(report: Report) -> list[Tile]:
    tiles = [Tile(name, f"{value:.3f}") for name, value in list(report.stats.items())[:_NUM_HEADLINE_STATS]]
    if report.analysis is not None:
        missed = f"{report.analysis.missed:,} without a prediction"
        tiles.append(Tile("people", f"{report.analysis.people:,}", missed))
        tiles.append(Tile("false positives", f"{report.analysis.background:,}"))
    return tiles


def _tabulate(stats: Mapping[str, float]) -> Table:
    return Table(list(stats), [[f"{value:.3f}" for value in stats.values()]])


def _analysis_sections(analysis: Analysis) -> list[Section]:
    errors = Figures([_draw_errors(analysis), _draw_gains(analysis.gains)])
    scores = [] if analysis.calibration is None else [_draw_calibration(analysis.calibration)]
    return [
        Section("Errors", [Note(_KINDS_EXPLAINED), errors]),
        Section("Groups and calibration", [Figures([*_draw_groups(analysis.groups), *scores])]),
        Section("Keypoints", [Details("Counts of all outcomes", _tabulate_keypoints(analysis))]),
    ]


def _draw_errors(analysis: Analysis) -> Figure:
    """Shares of the labeled keypoints of predicted people; a bar per keypoint, all together first."""
    rows = {_ALL: _sum_counts(analysis)} | analysis.keypoints
    bars = []
    for name, counts in rows.items():
        total = max(1, sum(counts.values()))
        parts = [counts[kind] / total for kind in _KINDS]
        bars.append(Bar(name.replace("_", " "), parts, f"{100 * sum(parts):.0f} %"))
    longest = max((sum(bar.parts) for bar in bars), default=0.0)
    title = "Wrong keypoints"
    svg = draw_bars(title, bars, full=longest or 1.0, parts=_KINDS)
    return Figure(title, "share of the labeled ones", svg, _KINDS)


def _draw_gains(gains: Mapping[str, float]) -> Figure:
    bars = [Bar(kind, [gain], f"{gain:+.3f}") for kind, gain in gains.items()]
    title = "AP gained without it"
    return Figure(title, "each alone", draw_bars(title, bars))


def _draw_groups(groups: Sequence[GroupPrecision]) -> list[Figure]:
    """A figure per criterion, all on one scale."""
    figures = []
    for quality in dict.fromkeys(row.quality for row in groups):
        bars = [Bar(row.name, [row.AP], f"{row.AP:.3f} ({row.people:,})") for row in groups if row.quality == quality]
        title = f"AP by {quality}"
        figures.append(Figure(title, "(people)", draw_bars(title, bars, full=1.0)))
    return figures


def _draw_calibration(calibration: Calibration) -> Figure:
    middles = [(index + 0.5) / NUM_BINS for index in range(NUM_BINS)]
    shares = [None if score_bin is None else score_bin.share_good for score_bin in calibration.bins]
    counts = [0 if score_bin is None else score_bin.keypoints for score_bin in calibration.bins]
    names = [
        f"scores {index / NUM_BINS:.1f} to {(index + 1) / NUM_BINS:.1f}: {count:,} keypoints"
        for index, count in enumerate(counts)
    ]
    title = "Share of good keypoints, by score"
    chart = Chart(
        title=title,
        x=[*middles, 1.0],
        x_label="score",
        point_names=[*names, ""],
        series=[
            Series("good (similarity 0.85 or higher)", [*shares, None]),
            Series("perfectly calibrated", [*middles, 1.0]),
        ],
        limits=(0.0, 1.0),
    )
    remark = f"expected error {calibration.expected_error:.3f}"
    return Figure(title, remark, draw_chart(chart), [curve.name for curve in chart.series])


def _tabulate_keypoints(analysis: Analysis) -> Table:
    rows = {_ALL: _sum_counts(analysis)} | analysis.keypoints
    head = ["", "labeled", *next(iter(rows.values()))]
    return Table(
        head, [[name, f"{sum(counts.values()):,}", *map(str, counts.values())] for name, counts in rows.items()]
    )


def _sum_counts(analysis: Analysis) -> dict[str, int]:
    return {kind: sum(counts[kind] for counts in analysis.keypoints.values()) for kind in ("good", *_KINDS)}


def _show_worst(path: Path) -> list[Block]:
    if not path.is_file():
        return [Note("Not drawn: give --images, the folder of the images.")]
    note = Note("For people without a prediction, the right half shows the false positives in the image.")
    return [note, Jpeg("the worst people, ground truth beside prediction", path.read_bytes())]


def _tabulate_protocol(report: Report) -> Table:
    rows = flatten(report.protocol.model_dump(mode="json")) | flatten(report.versions, "version")
    return Table(("setting", "value"), list(rows.items()))
