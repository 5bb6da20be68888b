"""mspn models average: one network from several training runs."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.errors import one_line_errors
from mspn.weights.average import average_weights
from mspn.weights.checkpoint import load_checkpoint, save_weights


def average_command(
    sources: Annotated[list[Path], typer.Argument(help="Weights files of runs that share their start.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
) -> None:
    """Average the weights of runs of one network: better than each, as fast as one."""
    with one_line_errors():
        average = average_weights([load_checkpoint(source) for source in sources])
        save_weights(out, average.model, average.header)
    typer.echo(f"{out}: {average.header.recipe.model.summary}, {average.header.notes}")
