"""AP against cost, as the paper's Fig. 1, from reports of `mspn evaluate --out`.

python -m benchmarks.figure_cost figure.html --line mspn 1/report.json 2/report.json --line hourglass 3/report.json ...

Reports are compared as by `mspn compare`: those of different protocols are refused.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from mspn.evaluation.report import Report, compare_reports
from mspn.io.files import write_text
from mspn.reporting import Chart, Figure, Figures, Page, Section, Series, draw_chart, render_page


def main() -> None:
    """Write the figure as a page."""
    parser = argparse.ArgumentParser(description="AP against cost")
    parser.add_argument("figure", type=Path)
    parser.add_argument("--line", action="append", nargs="+", required=True, metavar=("NAME", "REPORT"))
    parser.add_argument("--annotations", type=Path, help="the labels, if they were moved")
    parser.add_argument("--across-protocols", action="store_true", help="draw what does not compare, too")
    chosen = parser.parse_args()
    paths = [Path(path) for _, *line in chosen.line for path in line]
    comparison = compare_reports(paths, annotations=chosen.annotations, across_protocols=chosen.across_protocols)
    for objection in comparison.objections:
        print(f"does not compare: {objection}")
    reports = {compared.path: compared.report for compared in comparison.reports}
    draw_figure(chosen.figure, {name: [reports[Path(path)] for path in line] for name, *line in chosen.line})


def draw_figure(path: Path, lines: Mapping[str, Sequence[Report]]) -> None:
    """Draw a line each, of AP over billions of multiply-adds."""
    points = {name: {_gmacs(report): report for report in reports} for name, reports in lines.items()}
    costs = sorted({cost for line in points.values() for cost in line})
    precisions = [report.stats["AP"] for line in points.values() for report in line.values()]
    chart = Chart(
        title="Average precision against cost",
        x=costs,
        x_label="billion multiply-adds a crop",
        point_names=[", ".join(line[cost].model for line in points.values() if cost in line) for cost in costs],
        series=[
            Series(name, [line[cost].stats["AP"] if cost in line else None for cost in costs])
            for name, line in points.items()
        ],
        limits=(min(precisions), max(precisions)),
    )
    figure = Figure(chart.title, "AP", draw_chart(chart), list(points))
    page = Page(
        title=chart.title,
        heading=chart.title,
        note="multiply-adds of inference",
        sections=[Section("Reports of the same protocol", [Figures([figure])])],
    )
    write_text(path, render_page(page))


def _gmacs(report: Report) -> float:
    if report.gmacs is None:
        raise ValueError(f"the report of {report.model} has no cost; it must be of a network, not of a results file")
    return report.gmacs


if __name__ == "__main__":
    main()
