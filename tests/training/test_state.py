import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mspn.config.recipes import find_recipe
from mspn.errors import SettingsError
from mspn.training.checkpoint import (
    Progress,
    find_checkpoints,
    load_recipe,
    restore_checkpoint,
    save_checkpoint,
    save_recipe,
)


def save(run: Path, iteration: int, keep: int = 2) -> None:
    save_checkpoint(run, {"weight": torch.tensor([float(iteration)])}, Progress(iteration, 1.5, 0.25), keep)


def restored(run: Path) -> tuple[Progress, dict[str, Any]]:
    states: list[Mapping[str, Any]] = []
    progress = restore_checkpoint(run, states.append)
    return progress, dict(states[-1])


def test_a_checkpoint_gives_back_state_and_progress(tmp_path: Path):
    save(tmp_path, 3)

    progress, state = restored(tmp_path)

    assert progress == Progress(iteration=3, seconds=1.5, best=0.25)
    assert state["weight"].tolist() == [3.0]


def test_only_the_newest_checkpoints_stay(tmp_path: Path):
    for iteration in (5, 10, 95, 100):
        save(tmp_path, iteration, keep=2)

    assert [path.name for path in find_checkpoints(tmp_path)] == ["iteration-000000100.pt", "iteration-000000095.pt"]


def test_a_later_checkpoint_that_is_damaged_pushes_no_good_one_out(tmp_path: Path):
    save(tmp_path, 1)
    save(tmp_path, 4)
    find_checkpoints(tmp_path)[0].write_bytes(b"no checkpoint")

    save(tmp_path, 2, keep=1)

    assert [path.name for path in find_checkpoints(tmp_path)] == ["iteration-000000004.pt", "iteration-000000002.pt"]


def test_where_the_newest_is_damaged_the_one_before_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    save(tmp_path, 1)
    save(tmp_path, 2)
    newest = find_checkpoints(tmp_path)[0]
    newest.write_bytes(newest.read_bytes()[:100])

    progress, _ = restored(tmp_path)

    assert progress.iteration == 1
    assert "iteration-000000002.pt is damaged" in caplog.text


def test_a_checkpoint_with_changed_bytes_is_damaged_too(tmp_path: Path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    newest = find_checkpoints(tmp_path)[0]
    newest.write_bytes(newest.read_bytes().replace(b"seconds", b"\xff\xff\xff\xff\xff\xff\xff"))  # no UTF-8

    progress, _ = restored(tmp_path)

    assert progress.iteration == 1


def test_where_all_are_damaged_there_is_nothing_to_go_on_from(tmp_path: Path):
    save(tmp_path, 1)
    find_checkpoints(tmp_path)[0].write_bytes(b"no checkpoint")

    with pytest.raises(
        ValueError, match=r"iteration-000000001\.pt is damaged, .*; there is no other to go on from, so start a new run"
    ):
        restored(tmp_path)


def test_a_checkpoint_is_read_without_running_what_is_in_it(tmp_path: Path):
    save(tmp_path, 1)
    torch.save({"weight": logging.getLogger}, find_checkpoints(tmp_path)[0])

    with pytest.raises(
        ValueError, match=r"wants to run logging\.getLogger when it is read, which is refused; there is no"
    ):
        restored(tmp_path)


@pytest.mark.parametrize(
    "damage", [{"iteration": "1"}, {"iteration": -1}, {"seconds": float("nan")}, {"best": None}, {"iteration": None}]
)
def test_a_checkpoint_with_an_impossible_progress_is_refused_before_anything_is_restored(
    damage: dict[str, Any], tmp_path: Path
):
    save(tmp_path, 1)
    path = find_checkpoints(tmp_path)[0]
    torch.save(torch.load(path, weights_only=True) | damage, path)
    states: list[Mapping[str, Any]] = []

    with pytest.raises(ValueError, match=r"001\.pt does not fit the recipe of its run folder; start a new run"):
        restore_checkpoint(tmp_path, states.append)

    assert states == []


def test_a_file_that_is_no_table_is_no_checkpoint(tmp_path: Path):
    save(tmp_path, 1)
    torch.save([1, 2], find_checkpoints(tmp_path)[0])

    with pytest.raises(ValueError, match="does not fit the recipe of its run folder"):
        restored(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path):
    save(tmp_path, 1)

    def refuse(state: Mapping[str, Any]) -> None:
        raise RuntimeError("size mismatch")

    with pytest.raises(ValueError, match=r"001\.pt does not fit the recipe of its run folder; start a new run"):
        restore_checkpoint(tmp_path, refuse)


def test_a_run_folder_keeps_its_recipe(tmp_path: Path):
    recipe = find_recipe("mspn-small")

    save_recipe(tmp_path / "run", recipe)

    assert load_recipe(tmp_path / "run") == recipe


def test_a_folder_without_a_recipe_is_no_run_folder(tmp_path: Path):
    with pytest.raises(
        SettingsError, match=r"is no run folder \(it has no recipe\.json\); leave out --resume to start there"
    ):
        load_recipe(tmp_path)


def test_a_recipe_with_an_unknown_setting_is_refused(tmp_path: Path):
    (tmp_path / "recipe.json").write_text('{"name": "x", "optimizer": {}}')

    with pytest.raises(SettingsError, match=r"recipe\.json: no setting 'optimizer' in Recipe; it has"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b'{"name": "x",',
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"5",
        b'{"name": 1' + b"0" * 5000 + b"}",
        b'{"name": "\\ud800"}',
    ],
    ids=["cut short", "no text", "deep", "list", "number", "long number", "surrogate"],
)
def test_a_damaged_recipe_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "recipe.json").write_bytes(content)

    with pytest.raises(SettingsError, match=r"recipe\.json"):
        load_recipe(tmp_path)
