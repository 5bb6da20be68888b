"""mspn data: look after labelled sets."""

import typer

from mspn.cli.data_check import check_command
from mspn.cli.data_convert import convert_command
from mspn.cli.data_show import show_command
from mspn.cli.data_stats import stats_command

data_app = typer.Typer(help="Look after labelled sets.", no_args_is_help=True)
data_app.command("check")(check_command)
data_app.command("show")(show_command)
data_app.command("stats")(stats_command)
data_app.command("convert")(convert_command)
