"""The `mspn` command."""

import io
import os
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, NoReturn, TextIO

import typer

from mspn.cli.lazy import LazyCommand, LazyGroup
from mspn.cli.printing import USAGE_ERROR, echo, log_to_standard_error
from mspn.interrupts import end_cleanly_when_terminated

COMMANDS = {
    "predict": LazyCommand(
        "mspn.cli.predict:predict_command", "Find the keypoints of the people in images and videos."
    ),
    "batch": LazyCommand(
        "mspn.cli.batch:batch_command",
        "Find the keypoints of the people in very many images and videos, on one machine or many.",
    ),
    "serve": LazyCommand("mspn.cli.serve:serve_command", "Serve poses over HTTP, with a page for people at /."),
    "page": LazyCommand(
        "mspn.cli.page:page_command",
        "Write the service's page as files for any web host: its networks run in the visitors' browsers.",
    ),
    "merge": LazyCommand("mspn.cli.results:merge_command", "Join the results of several runs, such as shards of one."),
    "evaluate": LazyCommand(
        "mspn.cli.evaluate:evaluate_command",
        "Measure average precision, or the share of correct keypoints, on labeled people.",
    ),
    "compare": LazyCommand(
        "mspn.cli.results:compare_command", "Rank reports of the same protocol, after computing their numbers again."
    ),
    "submit": LazyCommand(
        "mspn.cli.results:submit_command",
        "Predict everyone in the images of a COCO split and write the zip for COCO's server.",
    ),
    "train": LazyCommand("mspn.cli.train:train_command", "Train a recipe and keep everything in a run folder."),
    "report": LazyCommand(
        "mspn.cli.train:report_command",
        "Write report.html into a run folder: progress, settings and environment of the training.",
    ),
    "bench": LazyCommand(
        "mspn.cli.bench:bench_command",
        "Measure how fast networks are on this CPU, and how fast they could be.",
    ),
    "models": LazyCommand(
        "mspn.cli.models:models_app",
        "Networks and their weights: list, show, cost, download, verify, convert, export, prove, average, quantize,"
        " calibrate.",
    ),
    "tracks": LazyCommand(
        "mspn.cli.tracks:tracks_app", "Smooth people's tracks through a video, measure angles, export."
    ),
    "data": LazyCommand(
        "mspn.cli.data:data_app",
        "Check, draw, count, review, convert, pack and split labeled sets; pre-label photos.",
    ),
}


class _Commands(LazyGroup):
    table = COMMANDS


app = typer.Typer(
    cls=_Commands,
    help="Human pose estimation with multi-stage networks.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        echo(f"mspn {version('mspn')}")
        raise typer.Exit


@app.callback()
def _set_up(
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    log_to_standard_error()


_ENVIRONMENT = {
    # OpenCV's complaints about damaged images would stand beside our own line about each.
    "OPENCV_LOG_LEVEL": "SILENT",
    # How often a thread of torch (with GNU's OpenMP) looks whether the others are done before it sleeps. By default it
    # looks for milliseconds, at each tensor; where another program had one of two cores, a first prediction took up to
    # 13 s of processor time in place of 1.6. This is GNU's own value where it knows that threads outnumber cores.
    "GOMP_SPINCOUNT": "1000",
}
"""What libraries read when they are imported, which is when a command runs; what is set already stays."""


def main() -> None:
    """Entry point of the `mspn` command."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    _prepare_standard_streams()
    end_cleanly_when_terminated()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:  # commands explain those of their own files
        _end_without_output(error)


def _end_without_output(error: OSError) -> NoReturn:
    """Say where it can be said that a standard stream takes nothing more."""
    with suppress(OSError):
        echo(
            f"error: output cannot be printed ({error.strerror or error}); free some room, or direct it elsewhere",
            err=True,
        )
    for stream in (1, 2):  # Python flushes them once more when it ends
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    sys.exit(USAGE_ERROR)


def _prepare_standard_streams() -> None:
    """Make any text printable, and keep the numbers of closed streams from files that are opened later."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # The lowest free number is taken, until that is none of the three.
    while (number := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD_STREAM:
        pass
    os.close(number)
    sys.stdout = sys.stdout or _open_nowhere()
    sys.stderr = sys.stderr or _open_nowhere()


def _open_nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 (open as long as the process is there)


_LAST_STANDARD_STREAM = 2
