"""What commands print, safe for terminals, and how they end when something is wrong: one line, exit code 2."""

import logging
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mspn.errors import MspnError

_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's control and format signs, bytes that are no UTF-8, and line breaks."""


def escape_control_characters(text: str) -> str:
    """Text that is safe for a terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _INVISIBLE_CATEGORIES
        else character
        for character in text
    )


def echo(*lines: str, err: bool = False) -> None:
    """Print lines on standard output, or on standard error."""
    for line in lines:
        typer.echo(escape_control_characters(line), err=err)


class SafeConsole(Console):
    """A console whose tables and bars show control characters instead of obeying them."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The parts of what is printed; the console's own control codes are parts of their own."""
        for text, style, control in super().render(renderable, options):
            # Line breaks here are those of the layout: within a cell, they have ended a line already.
            yield Segment(
                text if control else "\n".join(map(escape_control_characters, text.split("\n"))), style, control
            )


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The message on one line; a traceback keeps its own."""
        first, *rest = super().format(record).split("\n") if record.exc_info else [super().format(record)]
        return "\n".join(map(escape_control_characters, [first, *rest]))


def log_to_standard_error() -> None:
    """Show what the package logs, from INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


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
