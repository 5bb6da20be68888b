"""Reports as one HTML file that needs nothing beside it, on light and on dark screens.

A page is described by the classes here and rendered by `template.html.j2`, which escapes all text.
"""

import base64
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from mspn.errors import MspnError

_TEMPLATE = "template.html.j2"

logger = logging.getLogger(__name__)


@contextmanager
def optional_output(name: str) -> Iterator[None]:
    """Log what stops a page, sheet or analysis from being written: the results beside it are worth more."""
    try:
        yield
    except (MspnError, OSError) as error:
        logger.warning("no %s: %s", name, error)
    except Exception as error:  # a bug here must not cost the work of hours
        logger.warning("no %s: %s: %s", name, type(error).__name__, error)
        logger.debug("traceback", exc_info=True)


@dataclass(frozen=True)
class Note:
    """A paragraph of plain text."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Table:
    """A table of plain text."""

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Iterable[Sequence[str]]


@dataclass(frozen=True)
class Details:
    """A table that unfolds on a click."""

    kind: ClassVar[str] = "details"
    summary: str
    table: Table


@dataclass(frozen=True)
class Jpeg:
    """An image inside the page."""

    kind: ClassVar[str] = "jpeg"
    description: str
    content: bytes

    @property
    def base64(self) -> str:
        """The file's content as a data address holds it."""
        return base64.b64encode(self.content).decode()


@dataclass(frozen=True)
class Figure:
    """A chart below its title and a remark, such as its last value."""

    title: str
    remark: str
    svg: str
    """The chart as an SVG element, which is not escaped."""
    legend: Sequence[str] = ()
    """Names of its lines; shown where there are several."""


@dataclass(frozen=True)
class Figures:
    """Charts in columns."""

    kind: ClassVar[str] = "figures"
    figures: Sequence[Figure]


Block: TypeAlias = Note | Table | Details | Jpeg | Figures


@dataclass(frozen=True)
class Tile:
    """A headline number."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Blocks below a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    """Of the browser's window."""
    heading: str
    note: str
    """A line below the heading."""
    sections: Sequence[Section]
    tiles: Sequence[Tile] = ()


def render_page(page: Page) -> str:
    """The page as an HTML document that loads nothing and runs no script."""
    return _load_template().render(page=page)


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(_TEMPLATE)
