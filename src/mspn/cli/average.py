"""mspn models average: one network from several training runs."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.errors import one_line_errors
from mspn.cli.pull import find_with_bar
from mspn.weights.average import average_weights
from mspn.weights.checkpoint import load_checkpoint, save_weights


def average_command(
    models: Annotated[
        list[str], typer.Argument(help="Names of models, or weights files, of runs that share their start.")
    ],
    out: Annotated[Path, typer.Option(help="File to write.")],
) -> None:
    """Average the weights of runs of one network: often better than each, as fast as one."""
    with one_line_errors():
        average = average_weights([load_checkpoint(find_with_bar(model)) for model in models])
        save_weights(out, average.model, average.header)
    typer.echo(f"{out}: {average.header.recipe.model.summary}, {average.header.notes}")
