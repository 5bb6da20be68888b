"""What commands print: names in it come from files of others, and may hold escape sequences and line breaks."""

import logging
import sys
import unicodedata
from collections.abc import Iterable

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

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
