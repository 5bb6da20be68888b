"""mspn models download and verify: weights in the cache."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.checkpoints.hub.cache import cache_folder, download_weights, evict, is_cached, is_present, verify
from mspn.checkpoints.hub.index import IndexEntry, load_index
from mspn.cli.errors import SOME_FAILED, fail, one_line_errors
from mspn.cli.options import download_bar

CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder of the cache, in place of MSPN_CACHE.")]


def download_command(
    model: Annotated[str, typer.Argument(help="Name of published weights, see `mspn models list`.")],
    cache: CacheOption = None,
) -> None:
    """Download published weights, check them, and convert them into the cache."""
    with one_line_errors():
        entry = _find(model)
        if entry.file is not None:
            typer.echo(f"{entry.name} is part of the package")
            return
        folder = cache or cache_folder()
        if is_cached(entry, folder) and verify(entry, folder) is not None:
            typer.echo(f"{entry.name} in the cache is damaged and downloaded again", err=True)
            evict(entry, folder)
        with download_bar(entry.name) as report:
            path = download_weights(entry, folder, report=report)
    typer.echo(f"{entry.name}: {path}")


def verify_command(
    model: Annotated[str | None, typer.Argument(help="Name of weights; without it all that are present.")] = None,
    cache: CacheOption = None,
) -> None:
    """Check the bytes of the package's weights and of the cache against their SHA-256."""
    problems = 0
    with one_line_errors():
        folder = cache or cache_folder()
        entries = (
            [entry for entry in load_index().entries if entry.file is not None or is_present(entry, folder)]
            if model is None
            else [_find(model)]
        )
        for entry in entries:
            problem = verify(entry, folder)
            problems += problem is not None
            typer.echo(f"{entry.name}: {problem or 'ok'}", err=problem is not None)
    if problems:
        raise typer.Exit(SOME_FAILED)


def _find(model: str) -> IndexEntry:
    entry = load_index().find(model)
    if entry is None:
        fail(f"no published weights {model!r}; there are {', '.join(load_index().names())}")
    return entry
