"""Expensive files that all processes of a test run share."""

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

shared_folder: Path
"""Of this run; set in conftest.py."""


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder of this name that the first process to ask has filled; the others wait for it, and only read it."""
    folder, is_done = shared_folder / name, shared_folder / f"{name}.done"
    with FileLock(shared_folder / f"{name}.lock"):
        if not is_done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            is_done.touch()
    return folder
