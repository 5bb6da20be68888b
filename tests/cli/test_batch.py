from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("ray.data")

from mspn.batch.monitor import Progress
from mspn.batch.run import Run, Summary
from mspn.batch.table import Counts
from mspn.errors import FileError
from mspn.sources.resolve import Shard
from tests.cli.runner import error_line, run

COMMAND = ("batch", "photos", "--model", "mspn-tiny", "--detector", "none", "--out")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """What `mspn batch` would have run."""
    asked = []

    def run_batch(run: Run, show: Callable[[Progress, int | None], None], warn: Callable[[str], None]) -> Summary:
        asked.append(run)
        show(Progress(num_images=2, problems=["a.jpg is damaged"]), 4)
        show(Progress(num_images=4, problems=["a.jpg is damaged"]), 4)
        warn("no image was done for 60 s: no actor has started yet")
        return Summary(4, 5, 1, 2.0, 1.0, 1.5, 3, Counts(10, 20, 0))

    monkeypatch.setattr("mspn.batch.run.run_batch", run_batch)
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "")  # set by the command; put back afterwards
    return asked


def test_options_say_what_is_run_and_the_end_what_was_done(tmp_path: Path, runs: list[Run]):
    options = ("--actors", 3, "--cpus-per-actor", 2, "--gpus-per-actor", 0.25, "--shard", "2/3", "--threshold", 0.5)
    result = run(*COMMAND, tmp_path / "out", *options, "--resume", "--no-track")

    (asked,) = runs
    assert (asked.sources, asked.shard, asked.resume, asked.overwrite) == (["photos"], Shard(2, 3), True, False)
    assert (asked.actors.num_actors, asked.actors.num_cpus, asked.actors.num_gpus) == (3, 2, 0.25)
    assert (asked.settings["threshold"], asked.settings["track"], asked.settings["shard"]) == (0.5, False, "2/3")
    assert not asked.read.track
    assert result.stderr.splitlines() == [
        "skipped: a.jpg is damaged",
        "waiting: no image was done for 60 s: no actor has started yet",
    ]
    assert result.stdout.splitlines() == [
        "4 images, 5 people in 2.0 s (2.0 images/s, 2.5 people/s), 1 image with problems",
        "with those of earlier runs: 14 images",
        f"results: {tmp_path / 'out'}",
    ]
    assert result.exit_code == 1


def test_a_run_that_is_stopped_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Run]):
    def stopped(*_: object) -> Summary:
        raise KeyboardInterrupt

    monkeypatch.setattr("mspn.batch.run.run_batch", stopped)

    result = run(*COMMAND, tmp_path / "out")

    assert result.exit_code == 130
    assert result.stderr == "stopped; what is written stays. Continue with the same command and --resume\n"


def test_what_contradicts_itself_is_refused(tmp_path: Path, runs: list[Run]):
    out = tmp_path / "out"
    assert "give only one of the two" in error_line(run(*COMMAND, out, "--resume", "--overwrite"))
    assert "a cluster at --address has one" in error_line(run(*COMMAND, out, "--address", "auto", "--dashboard"))
    assert not runs


def test_what_a_run_cannot_write_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Run]):
    def full(*_: object) -> Summary:
        raise FileError("out: No space left on device; check the address, its rights, and that there is room")

    monkeypatch.setattr("mspn.batch.run.run_batch", full)

    assert "No space left on device" in error_line(run(*COMMAND, tmp_path / "out"))
