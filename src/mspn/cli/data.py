"""mspn data: look after labelled sets."""

import typer

from mspn.cli.lazy import LazyCommand, LazyGroup

COMMANDS = {
    "check": LazyCommand(
        "mspn.cli.data_check:check_command",
        "Look for mistakes in labels and pictures; exit code 1 if there are errors, 0 if there are warnings or"
        " nothing.",
    ),
    "show": LazyCommand(
        "mspn.cli.data_show:show_command", "Draw labels on their pictures, and sheets of a hundred people each."
    ),
    "stats": LazyCommand("mspn.cli.data_stats:stats_command", "Count pictures, people and keypoints."),
    "doubt": LazyCommand(
        "mspn.cli.data_doubt:doubt_command",
        "Find labels that a network doubts (sides swapped, limbs reversed, keypoints far off); propose corrections.",
    ),
    "convert": LazyCommand(
        "mspn.cli.data_convert:convert_command",
        "Rewrite labels in another format; what that cannot hold is said.",
    ),
}


class _Commands(LazyGroup):
    table = COMMANDS


data_app = typer.Typer(cls=_Commands, help="Look after labelled sets.", no_args_is_help=True)
