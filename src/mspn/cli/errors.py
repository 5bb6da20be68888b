"""How a command ends when something is wrong: one line, exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from mspn.config import SettingsError
from mspn.data.coco import AnnotationError
from mspn.images import PictureError
from mspn.weights.checkpoint import WeightsError

USAGE_ERROR = 2
SOME_FAILED = 1


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors that a person can mend into one line and exit code 2; our own mistakes keep their traceback."""
    try:
        yield
    except (SettingsError, AnnotationError, PictureError, WeightsError, FileNotFoundError, PermissionError) as error:
        fail(str(error))


def fail(message: str) -> None:
    """Print one line on standard error and end with exit code 2."""
    typer.echo("error: " + " ".join(message.split()), err=True)
    raise typer.Exit(USAGE_ERROR)
