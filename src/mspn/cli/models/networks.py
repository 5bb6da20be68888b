"""How commands load networks: by name or file, with a progress bar for downloads and changed test settings."""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from mspn.checkpoints.format import Checkpoint, load_checkpoint
from mspn.checkpoints.hub import find_weights
from mspn.checkpoints.hub.download import Report
from mspn.cli.errors import fail
from mspn.config.overrides import override
from mspn.config.recipe import Recipe


def find_with_bar(model: str) -> Path:
    """The weights file of a model, as `find_weights`, with a progress bar if it has to be downloaded."""
    with download_bar(model) as report:
        return find_weights(model, report)


@contextmanager
def download_bar(name: str) -> Iterator[Report]:
    """A progress bar that appears with the first bytes."""
    console = Console(stderr=True)
    columns = (TextColumn("downloading {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def load_with_test_settings(models: Sequence[str], protocol: str | None, settings: Sequence[str]) -> list[Checkpoint]:
    """Load networks by name or file, with test settings that replace their own.

    Args:
        models: names or weights files; published ones are downloaded, with a bar.
        protocol: named test settings; None keeps those of the weights.
        settings: "test.NAME=VALUE", each changing one of them.
    """
    changes = [*([f"test={protocol}"] if protocol else []), *settings]
    checkpoints = []
    for model in models:
        checkpoint = load_checkpoint(find_with_bar(model))
        header = checkpoint.header.model_copy(update={"recipe": change_test(checkpoint.header.recipe, changes)})
        checkpoints.append(dataclasses.replace(checkpoint, header=header))
    return checkpoints


def change_test(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """A recipe with other test settings; other settings are refused, because they belong to training."""
    for setting in settings:
        if not setting.strip().startswith(("test.", "test=")):
            fail(f"--set {setting}: only test settings can be changed here, for example test.blur_kernel=1")
    return override(recipe, settings)
