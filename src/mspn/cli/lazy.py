"""Commands that are imported only when they run, so that help and shell completion do not wait for torch."""

import gc
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from mspn.cli.printing import fail


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
