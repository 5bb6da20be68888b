"""What all tests share."""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from hypothesis import settings

from mspn.io import matlab
from tests import made_once

# The same examples in every run, however long the machine takes.
settings.register_profile("mspn", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("mspn")
# Before torch, which the workers of pytest-xdist import, but the process that they report to does not need.
os.environ["OMP_NUM_THREADS"] = "1"
# Tests that import OpenVINO themselves report nothing to its makers.
sys.modules["openvino_telemetry"] = cast(ModuleType, None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage less often, and not among what is imported and collected, which stays until the end.

    The search takes a tenth of the time otherwise.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is downloaded, and what a developer has pulled does not matter."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MSPN_OFFLINE", "1")
        environment.setenv("MSPN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _shared_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One folder for all workers of pytest-xdist, whose own folders lie side by side."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    made_once.shared_folder = folder / "shared"
    made_once.shared_folder.mkdir(exist_ok=True)


@pytest.fixture
def mat_files_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """SciPy reads .mat files in this process, which need not start; tests/io/test_matlab.py has those that do."""

    def read(path: Path, function: str, **settings: Any) -> Any:
        return matlab._take(matlab._answer(str(path), function, settings))

    monkeypatch.setattr(matlab, "read_in_process", read)
