"""The `mspn` command."""

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import cv2
import typer

from mspn.cli.data import data_app
from mspn.cli.evaluate import evaluate_command
from mspn.cli.models import models_app
from mspn.cli.predict import predict_command
from mspn.cli.report import report_command
from mspn.cli.train import train_command

app = typer.Typer(
    help="Human pose estimation with multi-stage networks.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"mspn {version('mspn')}")
        raise typer.Exit


@app.callback()
def _set_up(
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # Its complaints about damaged pictures would stand beside our own line about each.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


app.command("predict")(predict_command)
app.command("evaluate")(evaluate_command)
app.command("train")(train_command)
app.command("report")(report_command)
app.add_typer(models_app, name="models")
app.add_typer(data_app, name="data")


def main() -> None:
    """Entry point of the `mspn` command."""
    app()
