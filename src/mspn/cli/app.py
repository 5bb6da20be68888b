"""The `mspn` command, and its groups: `mspn data`, `mspn models`, `mspn tracks`.

Commands are imported only when they run, so that help and shell completion do not wait for torch.
"""

import gc
import io
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Any, ClassVar, NamedTuple, NoReturn, TextIO

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from mspn import __version__
from mspn.cli.printing import USAGE_ERROR, echo, fail, log_to_standard_error
from mspn.interrupts import end_cleanly_when_terminated


class LazyCommand(NamedTuple):
    """A command that is not imported yet."""

    path: str
    """package.module:name of its function, or of its `typer.Typer` if it is a group."""
    help: str
    """Its line in the list of commands: the first line of its own help."""


class LazyGroup(TyperGroup):
    """A group that lists its commands from a table and imports only the command that runs."""

    table: ClassVar[Mapping[str, LazyCommand]]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, command in self.table.items():
            self.add_command(TyperCommand(name, help=command.help), name)

    # `Any`: click's classes, or typer's own copy of them in its later versions.
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Called where a command is to run, show its help, or complete what follows its name."""
        if not ctx.resilient_parsing and any(map(_is_empty, args)):
            fail("an argument is empty; is a variable of the shell not set? The current folder is .")
        name, _listed, arguments = super().resolve_command(ctx, args)
        return name, name and load_command(self.table[name].path), arguments


def _is_empty(argument: str) -> bool:
    """Whether an argument is, or an option has, no text: as a path it would mean the current folder."""
    return not argument or (argument.startswith("--") and argument.partition("=")[1:] == ("=", ""))


def load_command(path: str) -> Any:
    """Import a command; `path` as in `LazyCommand`."""
    with _collection_paused():
        command = pkgutil.resolve_name(path)
    if isinstance(command, typer.Typer):
        return get_group(command)
    application = typer.Typer(add_completion=False)
    application.command()(command)
    return get_command(application)


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Pause garbage collection during imports, and exclude what they created from later collections.

    Python would run some 380 collections while torch is imported, two of them full, and another on exit: half a second
    of 1.5 in all.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


TRACKS_COMMANDS = {
    "smooth": LazyCommand(
        "mspn.cli.tracks:smooth_command",
        "Smooth the keypoints of a video's people without lag, mend mistakes, fill short gaps.",
    ),
    "angles": LazyCommand(
        "mspn.cli.tracks:angles_command",
        "Measure a person's joint angles and steps in a video from the side: angles.csv, steps.csv, report.html.",
    ),
    "export": LazyCommand(
        "mspn.cli.tracks:export_command",
        "Write tracks as a table, or for OpenPose's followers, OpenSim, C3D's readers and movement.",
    ),
}


class _TracksCommands(LazyGroup):
    table = TRACKS_COMMANDS


tracks_app = typer.Typer(
    cls=_TracksCommands, help="Smooth people's tracks through a video, measure angles, export.", no_args_is_help=True
)


MODELS_COMMANDS = {
    "list": LazyCommand("mspn.cli.models:list_command", "List the named networks, and the weights that are available."),
    "show": LazyCommand(
        "mspn.cli.models:show_command",
        "Describe a weights file, or weights that are not downloaded yet, in a screen.",
    ),
    "cost": LazyCommand("mspn.cli.models:cost_command", "Count parameters and the multiply-adds of one crop, by part."),
    "download": LazyCommand(
        "mspn.cli.models:download_command",
        "Download published weights, check them, and convert them into the cache.",
    ),
    "verify": LazyCommand(
        "mspn.cli.models:verify_command",
        "Check the bytes of the package's weights and of the cache against their SHA-256.",
    ),
    "convert": LazyCommand(
        "mspn.cli.weights:convert_command",
        "Convert weights between mspn's layout, the released codes' and MMPose's; simple baselines to mspn's only.",
    ),
    "export": LazyCommand(
        "mspn.cli.export:export_command",
        "Export a network, with the steps around it, for other runtimes, languages and devices.",
    ),
    "prove": LazyCommand(
        "mspn.cli.export:prove_command",
        "Compare an exported file with its weights again; a file that was changed fails.",
    ),
    "prepare": LazyCommand(
        "mspn.cli.export:prepare_command",
        "Export networks into the cache, after which `mspn predict` starts without torch.",
    ),
    "average": LazyCommand(
        "mspn.cli.weights:average_command",
        "Average the weights of runs of one network: often better than each, as fast as one.",
    ),
    "quantize": LazyCommand(
        "mspn.cli.weights:quantize_command",
        "Calibrate activations on images, as --precision int8 needs it.",
    ),
    "calibrate": LazyCommand(
        "mspn.cli.scores:calibrate_command",
        "Calibrate keypoint scores on labeled people: 0.8 then means right eight times in ten.",
    ),
    "rescore": LazyCommand(
        "mspn.cli.scores:rescore_command",
        "Learn to predict the OKS of poses on labeled people, also those of training: poses rank by it then.",
    ),
}


class _ModelsCommands(LazyGroup):
    table = MODELS_COMMANDS


models_app = typer.Typer(
    cls=_ModelsCommands,
    no_args_is_help=True,
    help="Networks and their weights: list, show, cost, download, verify, convert, export, prove, prepare, average,"
    " quantize, calibrate, rescore.",
)


DATA_COMMANDS = {
    "check": LazyCommand(
        "mspn.cli.data:check_command",
        "Look for mistakes in labels and images; exit code 1 if there are errors, 0 if there are warnings or nothing.",
    ),
    "show": LazyCommand(
        "mspn.cli.data_images:show_command", "Draw labels on their images, and sheets of a hundred people each."
    ),
    "stats": LazyCommand("mspn.cli.data:stats_command", "Count images, people and keypoints."),
    "review": LazyCommand(
        "mspn.cli.data_images:review_command",
        "Find likely label errors (sides swapped, limbs reversed, keypoints far off); propose corrections.",
    ),
    "convert": LazyCommand(
        "mspn.cli.data:convert_command",
        "Rewrite labels in another format; warn about what it cannot hold.",
    ),
    "pack": LazyCommand(
        "mspn.cli.data_images:pack_command",
        "Cut the people of a recipe's training sets out of their photos, into one file that training reads.",
    ),
    "pseudo-label": LazyCommand(
        "mspn.cli.pseudo_label:pseudo_label_command",
        "Label the people of photos without labels, where the teachers agree, plain and mirrored.",
    ),
    "suggest": LazyCommand(
        "mspn.cli.pseudo_label:suggest_command",
        "Pre-label the photos to label next, those of which the network is least sure first.",
    ),
    "split": LazyCommand(
        "mspn.cli.data:split_command",
        "Split labels by image, drawn at random, into a set to train on and one to measure on.",
    ),
}


class _DataCommands(LazyGroup):
    table = DATA_COMMANDS


data_app = typer.Typer(
    cls=_DataCommands,
    help="Check, draw, count, review, convert, pack and split labeled sets; pre-label photos.",
    no_args_is_help=True,
)


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
        "mspn.cli.export:page_command",
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
        "mspn.cli.app:models_app",
        "Networks and their weights: list, show, cost, download, verify, convert, export, prove, prepare, average,"
        " quantize, calibrate, rescore.",
    ),
    "tracks": LazyCommand("mspn.cli.app:tracks_app", "Smooth people's tracks through a video, measure angles, export."),
    "data": LazyCommand(
        "mspn.cli.app:data_app",
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
        echo(f"mspn {__version__}")
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
    # Our products of matrices are small; for numpy's own threads, which wait awake, they would not pay.
    "OPENBLAS_NUM_THREADS": "1",
    # We have no plugins of pydantic; to look for some, it reads what every installed package says of itself.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
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
