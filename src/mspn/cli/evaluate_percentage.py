"""How mspn evaluate shows PCKh and PCK."""

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from mspn.evaluate.percentage_correct import NOTHING_TO_FIND
from mspn.evaluate.report import Report


def show_percentage(report: Report, table: dict[str, float]) -> None:
    """Print the table of parts in percent, as papers do, and whom and what it is of."""
    columns = table | report.stats
    drawn = Table(*(Column(name, justify="right") for name in columns), box=SIMPLE, padding=0, collapse_padding=True)
    drawn.add_row(*("-" if value == NOTHING_TO_FIND else f"{100 * value:.1f}" for value in columns.values()))
    Console().print(drawn)
    protocol = report.protocol
    typer.echo(f"{protocol.metric}, percent; {protocol.num_people} people, {len(protocol.keypoints or ())} keypoints")
