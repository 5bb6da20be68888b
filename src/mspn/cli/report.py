"""mspn report: a run's curves, crops and settings on one page."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.errors import one_line_errors
from mspn.train.report import write_report


def report_command(run: Annotated[Path, typer.Argument(help="Run folder: the --out of `mspn train`.")]) -> None:
    """Write report.html into a run folder: how far training is, and what it was made with."""
    with one_line_errors():
        path = write_report(run)
    typer.echo(f"report: {path}")
