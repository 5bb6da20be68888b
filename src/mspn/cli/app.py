"""The `mspn` command."""

import logging

import typer
from rich.logging import RichHandler

from mspn.cli.evaluate import evaluate_command
from mspn.cli.models import models_app
from mspn.cli.predict import predict_command
from mspn.cli.train import train_command

app = typer.Typer(
    help="Human pose estimation with multi-stage networks.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _set_up() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])


app.command("predict")(predict_command)
app.command("evaluate")(evaluate_command)
app.command("train")(train_command)
app.add_typer(models_app, name="models")


def main() -> None:
    """Entry point of the `mspn` command."""
    app()
