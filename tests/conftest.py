"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from tests import made_once

# The same examples in every run, however long the machine takes.
settings.register_profile("mspn", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("mspn")
torch.set_num_threads(1)


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
