"""mspn data convert: labels from one format to another."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.errors import one_line_errors
from mspn.data.formats import read_labels, write_labels


def convert_command(
    source: Annotated[Path, typer.Argument(help="Label file, or folder where the format is one.")],
    destination: Annotated[Path, typer.Argument(help="Where to write.")],
    to: Annotated[str, typer.Option(help="Format to write.")],
    from_format: Annotated[
        str | None, typer.Option("--from", help="Format of the source; by default told from its content.")
    ] = None,
) -> None:
    """Rewrite labels in another format."""
    with one_line_errors():
        labels = read_labels(source, from_format)
        write_labels(labels, destination, to)
    typer.echo(f"{destination}: {len(labels.people)} people in {len(labels.pictures)} pictures")
