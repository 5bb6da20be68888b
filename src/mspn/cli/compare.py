"""mspn evaluate --compare: reports side by side."""

from pathlib import Path

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mspn.cli.errors import one_line_errors
from mspn.evaluation.comparison import Comparison, compare_reports


def show_comparison(paths: list[Path], annotations: Path | None, *, across_protocols: bool) -> None:
    """Print a table of the reports' numbers, with differences to the first of them."""
    with one_line_errors():
        comparison = compare_reports(paths, annotations=annotations, across_protocols=across_protocols)
    for objection in comparison.objections:
        typer.echo(f"not ranked: {objection}", err=True)
    Console().print(_tabulate(comparison))


def _tabulate(comparison: Comparison) -> Table:
    first, *others = comparison.reports
    heads = []
    for number, one in enumerate(comparison.reports, start=1):
        rank = "" if comparison.objections else f"{number}. "
        heads.append(f"{rank}{one.path.parent.name}\n{one.report.model}")
    table = Table("", *heads, box=SIMPLE)
    names = dict.fromkeys(name for one in comparison.reports for name in one.report.stats)
    for name in names:
        base = first.report.stats.get(name)
        cells = ["-" if base is None else f"{base:.3f}"]
        for one in others:
            value = one.report.stats.get(name)
            difference = "" if value is None or base is None else f" {value - base:+.3f}"
            cells.append("-" if value is None else f"{value:.3f}{difference}")
        table.add_row(name, *cells)
    return table
