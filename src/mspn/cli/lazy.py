"""Commands that are imported when they run, so that help and shell completion need not wait for torch."""

import gc
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


class LazyCommand(NamedTuple):
    """What a group knows of a command that is not imported."""

    home: str
    """Its function, or its `typer.Typer` if it is a group: package.module:name."""
    help: str
    """Its line in the list of commands, the same as its own first one."""


class LazyGroup(TyperGroup):
    """A group that lists its commands by its table, and imports the one that runs."""

    table: ClassVar[Mapping[str, LazyCommand]]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, command in self.table.items():
            self.add_command(TyperCommand(name, help=command.help), name)

    # `Any`: click's classes, or typer's own copy of them in its later versions.
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Called where a command is to run, show its help, or complete what follows its name."""
        name, _listed, rest = super().resolve_command(ctx, args)
        return name, name and load_command(self.table[name].home), rest


def load_command(home: str) -> Any:
    """Import a command; `home` as in `LazyCommand`."""
    with _collection_paused():
        found = pkgutil.resolve_name(home)
    if isinstance(found, typer.Typer):
        return get_group(found)
    alone = typer.Typer(add_completion=False)
    alone.command()(found)
    return get_command(alone)


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Make objects that stay, without looking for garbage among them again and again.

    Python searches what `import torch` makes some 380 times as it grows, twice as a whole, and again when the program
    ends: half a second of 1.5 in all.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
