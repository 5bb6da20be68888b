import json
from pathlib import Path

import pytest
import torch

from mspn.distributed import ALONE, Processes, is_restart, joined_processes
from tests.training.several import run_together


def test_alone_everything_is_ones_own():
    assert ALONE.is_first
    assert ALONE.share([1, 2, 3]) == [1, 2, 3]
    assert ALONE.gather(["a"]) == ["a"]
    assert ALONE.highest(7) == 7
    assert ALONE.average(torch.tensor([2.0])).tolist() == [2.0]


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    with joined_processes() as processes:
        assert processes == ALONE


def test_the_shares_of_all_processes_hold_each_item_once():
    shares = [Processes(rank, 3).share(range(8)) for rank in range(3)]

    assert [list(share) for share in shares] == [[0, 3, 6], [1, 4, 7], [2, 5]]


def test_torchrun_says_that_it_started_a_process_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not is_restart()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert is_restart()


def note_what_it_hears(processes: Processes, folder: Path) -> None:
    rank = processes.rank
    values = torch.full((2,), float(10 * rank))
    processes.copy_from_first(copied := torch.tensor([rank + 5.0]))
    heard = {
        "average": processes.average(values).tolist(),
        "own": values.tolist(),
        "highest": processes.highest(3 * rank),
        "gathered": processes.gather([f"of {rank}"] * (rank + 1)),
        "copied": copied.item(),
    }
    (folder / f"{rank}.json").write_text(json.dumps(heard))


def test_processes_average_compare_gather_and_copy(tmp_path: Path):
    run_together(2, note_what_it_hears, tmp_path)

    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for heard in (first, second):
        assert heard["average"] == [5.0, 5.0]
        assert heard["highest"] == 3
        assert heard["gathered"] == ["of 0", "of 1", "of 1"]
        assert heard["copied"] == 5.0
    assert second["own"] == [10.0, 10.0]
