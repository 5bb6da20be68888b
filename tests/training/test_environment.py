import hashlib
import json
import logging
import platform
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from mspn.config.recipe import Recipe
from mspn.distributed import ALONE
from mspn.errors import InvalidValueError
from mspn.inference.devices import processor_name
from mspn.io.files import sha256_of
from mspn.labels.corrections import Correction, write_corrections
from mspn.labels.formats import read_labels, write_labels
from mspn.training.environment import changed_files, describe_environment, git_commit, read_sessions
from mspn.training.tasks import PoseTask
from tests.drawn_people import write_drawn_set
from tests.trained import tiny_recipe


def _recipe(folder: Path) -> Recipe:
    """A recipe on three drawn people in two images, and a file of faces that proposes none."""
    write_drawn_set(folder, num_images=2, people_per_image=2)
    path = folder / "annotations.json"
    labels = json.loads(path.read_text())
    labels["annotations"].pop()
    path.write_text(json.dumps(labels))
    (folder / "faces.json").write_text("{}")
    recipe = tiny_recipe(folder, iterations=10)
    one = recipe.data.train[0].model_copy(update={"faces": "faces.json"})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": (one,)})})


def _describe(run: Path, recipe: Recipe, iteration: int) -> None:
    task = PoseTask(recipe, torch.device("cpu"), ALONE)
    describe_environment(run, recipe.data.root, task.fingerprints(), iteration=iteration, num_processes=2)


def test_a_session_keeps_versions_command_and_the_fingerprints_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = _recipe(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/mspn", "train", "tiny", "--out", "my run"])

    _describe(tmp_path / "run", recipe, iteration=0)

    (session,) = read_sessions(tmp_path / "run")
    assert session.command == "mspn train tiny --out 'my run'"
    assert session.python == platform.python_version()
    assert session.started.endswith("+00:00")
    assert (session.iteration, session.processes) == (0, 2)
    (data,) = session.data
    assert (data.annotations, data.images, data.people) == ("annotations.json", 2, 3)
    assert data.sha256 == hashlib.sha256((tmp_path / "annotations.json").read_bytes()).hexdigest()
    assert data.proposals_sha256 == hashlib.sha256(b"{}").hexdigest()


def test_neither_the_home_folder_nor_the_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = _recipe(tmp_path)
    monkeypatch.setenv("HOME", "/home/al")
    monkeypatch.setattr(platform, "node", lambda: "ada-laptop")
    monkeypatch.setattr(sys, "argv", ["/home/al/bin/mspn", "train", "--out=/home/al/run", "/home/alice", "/home/al"])

    _describe(tmp_path / "run", recipe, iteration=0)

    assert read_sessions(tmp_path / "run")[0].command == "mspn train --out=~/run /home/alice ~"
    assert "ada-laptop" not in (tmp_path / "run" / "environment.json").read_text()


def test_a_resumed_run_adds_a_session_and_one_that_starts_anew_does_not(tmp_path: Path):
    recipe = _recipe(tmp_path)
    _describe(tmp_path / "run", recipe, iteration=0)

    _describe(tmp_path / "run", recipe, iteration=4)
    assert [session.iteration for session in read_sessions(tmp_path / "run")] == [0, 4]

    _describe(tmp_path / "run", recipe, iteration=0)
    assert [session.iteration for session in read_sessions(tmp_path / "run")] == [0]


def test_labels_that_changed_since_the_first_session_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    recipe = _recipe(tmp_path)
    _describe(tmp_path / "run", recipe, iteration=0)
    (tmp_path / "faces.json").write_text("{ }")

    _describe(tmp_path / "run", recipe, iteration=4)
    _describe(tmp_path / "run", recipe, iteration=8)

    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    expected = (
        f"{tmp_path / 'faces.json'} is not what it was when the run {tmp_path / 'run'} began;"
        " numbers before and after do not compare"
    )
    assert warnings == [expected, expected]


def test_corrections_that_changed_since_the_first_session_are_named(tmp_path: Path):
    recipe = _recipe(tmp_path)
    one = recipe.data.train[0].model_copy(update={"corrections": "corrections.json"})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": (one,)})})
    correct = partial(write_corrections, tmp_path / "corrections.json", tmp_path / "annotations.json", ("mspn-tiny",))
    correct({1: Correction(leave_out=("nose",))})
    _describe(tmp_path / "run", recipe, iteration=0)
    digest = sha256_of(tmp_path / "corrections.json")

    correct({})
    _describe(tmp_path / "run", recipe, iteration=4)

    first, second = (session.data[0] for session in read_sessions(tmp_path / "run"))
    assert (first.corrections, first.corrections_sha256) == ("corrections.json", digest)
    assert changed_files([first], [second]) == ["corrections.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff\xfe{", b"[" * 100_000, b'{"sessions": 5}', b'{"sessions": [{"started": "\\ud800"}]}'],
    ids=["empty", "list", "no text", "deep", "number", "half a character"],
)
def test_a_file_of_another_form_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "environment.json").write_bytes(content)

    with pytest.raises(InvalidValueError, match=r"environment\.json is damaged \(.*\); move it away to go on"):
        read_sessions(tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path):
    (tmp_path / "environment.json").write_text('{"sessions": [{"started": 3}]}')

    with pytest.raises(ValueError, match=r"environment.json is damaged \(sessions.0.started: .*move it away to go on"):
        read_sessions(tmp_path)


def test_a_folder_without_the_file_has_no_sessions(tmp_path: Path):
    assert read_sessions(tmp_path) == ()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_of_a_checkout_says_whether_its_files_were_changed(tmp_path: Path):
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text("1")
    git("init")
    assert git_commit(package) is None  # within a checkout that does not track it

    git("add", ".")
    git("commit", "-m", "First")
    commit = git("rev-parse", "HEAD")
    assert git_commit(package) == commit

    (package / "module.py").write_text("2")
    assert git_commit(package) == f"{commit}-dirty"


def test_the_processor_is_called_what_linux_calls_it(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Quick 9000\nmodel name\t: Quick 9000\n")

    assert processor_name(tmp_path / "cpuinfo") == "Quick 9000"
    assert processor_name(tmp_path / "nothing") == (platform.processor() or platform.machine())


def test_a_folder_of_labels_has_a_fingerprint_of_its_text_files(tmp_path: Path):
    recipe = _recipe(tmp_path)
    labels = write_labels_as_yolo(tmp_path)
    one = recipe.data.train[0].model_copy(update={"annotations": "yolo", "faces": None, "format": "yolo"})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": (one,)})})

    _describe(tmp_path / "run", recipe, iteration=0)
    (labels / "000000000001.txt").write_text("")
    _describe(tmp_path / "run", recipe, iteration=4)

    first, second = (session.data[0] for session in read_sessions(tmp_path / "run"))
    assert (first.images, first.people) == (2, 3)
    assert len(first.sha256) == 64
    assert changed_files([first], [second]) == ["yolo"]


def write_labels_as_yolo(folder: Path) -> Path:
    write_labels(read_labels(folder / "annotations.json"), folder / "yolo", "yolo")
    (folder / "yolo" / "images").symlink_to(folder / "images")
    return folder / "yolo" / "labels"
