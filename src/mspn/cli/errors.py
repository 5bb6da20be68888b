"""How a command ends when something is wrong: one line, exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from mspn.cli.printing import echo
from mspn.errors import MspnError

USAGE_ERROR = 2
SOME_FAILED = 1
KILLED = 128
"""And the number of the signal, as shells have it."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print errors that a user can cause as one line and exit with code 2; anything else keeps its traceback."""
    try:
        yield
    except MspnError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}; check the path and its rights" if error.filename else str(error))


def fail(message: str) -> NoReturn:
    """Print one line on standard error and end with exit code 2."""
    echo("error: " + " ".join(message.split()), err=True)
    raise typer.Exit(USAGE_ERROR)
