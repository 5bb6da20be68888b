import platform
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from types import SimpleNamespace

import pytest

from mspn.inference import devices
from mspn.inference.devices import keep_freed_memory
from tests.cli.runner import run
from tests.training.several import clean_processes

_needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")

_TOLD = [(-3, 2**30), (-1, -1)]
"""M_MMAP_THRESHOLD is -3, M_TRIM_THRESHOLD is -1; a threshold of -1 is never reached."""


class _Library:
    """In place of glibc."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.told.append((parameter, value))
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> _Library:
    library = _Library()
    monkeypatch.setattr(devices, "ctypes", SimpleNamespace(CDLL=lambda _name: library))
    monkeypatch.setattr(devices, "platform", SimpleNamespace(libc_ver=lambda: ("glibc", "2.36")))
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    return library


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "nowhere.jpg"),
        ("evaluate", "--model", "mspn-tiny", "--annotations", "nowhere.json", "--images", "nowhere"),
        ("train", "no-recipe", "--out", "run"),
        ("data", "review", "nowhere.json", "--images", "nowhere", "--out", "doubts"),
    ],
    ids=lambda command: command[0],
)
def test_commands_that_run_networks_keep_memory(
    command: tuple[str, ...], library: _Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    run(*command)

    assert library.told == _TOLD


def test_the_reference_of_a_benchmark_has_what_the_system_gives(library: _Library, tmp_path: Path):
    run("bench", "--images", tmp_path, "--out", tmp_path)

    assert library.told == []


def _count_faults(counts: "SimpleQueue[int]") -> None:
    from resource import RUSAGE_SELF, getrusage

    keep_freed_memory()
    for _ in range(2):
        before = getrusage(RUSAGE_SELF).ru_minflt
        bytearray(b"x") * (100 * 2**20)  # freed at once
        counts.put(getrusage(RUSAGE_SELF).ru_minflt - before)


@_needs_glibc
def test_memory_that_is_freed_is_there_again_without_page_faults():
    context = clean_processes()
    counts = context.SimpleQueue()

    process = context.Process(target=_count_faults, args=(counts,))
    process.start()
    process.join(60)

    assert process.exitcode == 0
    first, again = counts.get(), counts.get()
    # 100 MiB are 25,600 pages of 4 KiB, or fewer larger ones.
    assert first > 40
    assert again < first / 10


def test_glibc_is_told_both_thresholds(library: _Library):
    keep_freed_memory()

    assert library.told == _TOLD


def test_what_the_environment_says_of_memory_stays(library: _Library, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")

    keep_freed_memory()

    assert library.told == [(-3, 2**30)]


def test_other_c_libraries_are_left_alone(library: _Library, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "platform", SimpleNamespace(libc_ver=lambda: ("", "")))

    keep_freed_memory()

    assert library.told == []
