"""mspn compare: reports side by side."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from mspn.cli.printing import SafeConsole, echo, one_line_errors
from mspn.evaluation.comparison import Comparison, compare_reports


def compare_command(
    reports: Annotated[list[Path], typer.Argument(help="report.json files of `mspn evaluate --out`, two or more.")],
    annotations: Annotated[
        Path | None, typer.Option(help="The labels, where they are not at the path in the reports.")
    ] = None,
    across_protocols: Annotated[
        bool, typer.Option("--across-protocols", help="Show reports that cannot be ranked side by side.")
    ] = False,
) -> None:
    """Rank reports of the same protocol, after computing their numbers again."""
    with one_line_errors():
        comparison = compare_reports(reports, annotations=annotations, across_protocols=across_protocols)
    for objection in comparison.objections:
        echo(f"not ranked: {objection}", err=True)
    SafeConsole().print(_tabulate(comparison))


def _tabulate(comparison: Comparison) -> Table:
    """The reports' numbers, with differences to the first report."""
    first, *following = comparison.reports
    heads = []
    for number, compared in enumerate(comparison.reports, start=1):
        rank = "" if comparison.objections else f"{number}. "
        heads.append(f"{rank}{compared.path.parent.name}\n{compared.report.model}")
    table = Table("", *heads, box=SIMPLE)
    names = dict.fromkeys(name for compared in comparison.reports for name in compared.report.stats)
    for name in names:
        base = first.report.stats.get(name)
        cells = ["-" if base is None else f"{base:.3f}"]
        for compared in following:
            value = compared.report.stats.get(name)
            difference = "" if value is None or base is None else f" {value - base:+.3f}"
            cells.append("-" if value is None else f"{value:.3f}{difference}")
        table.add_row(name, *cells)
    return table
