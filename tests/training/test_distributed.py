import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mspn.config.recipe import Recipe, override
from mspn.distributed import ALONE, Processes, is_restart, joined_processes
from mspn.training.loop import train
from mspn.training.metrics import IterationReport
from tests.drawn_people import write_drawn_set
from tests.trained import small_and_fast, tiny_recipe
from tests.training.several import clean_processes, run_together


def record_losses(processes: Processes, recipe: Recipe, run: Path, iterations: int) -> None:
    """Train that far; the first process writes the losses of each step."""
    losses: list[list[list[float]]] = []

    def note(report: IterationReport) -> None:
        losses.append(report.losses)

    recipe = override(recipe, [f"train.iterations={iterations}"])
    train(recipe, run, resume=True, processes=processes, report=note)
    if processes.is_first:
        (run / f"losses-{iterations}.json").write_text(json.dumps(losses))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    write_drawn_set(tmp_path, num_images=4)
    settings = ["model.num_stages=2", "train.batch_size=4", "train.threads=1"]
    return small_and_fast(tiny_recipe(tmp_path, iterations=6), settings)


@pytest.mark.parametrize("parts", [1, 2])
def test_two_processes_with_half_the_batch_each_have_the_losses_of_one(tmp_path: Path, recipe: Recipe, parts: int):
    # Norms that look at the batch see another one in each process: they are frozen.
    recipe = override(recipe, ["train.norm=frozen", "train.learning_rate=1e-3", f"train.accumulate={parts}"])

    record_losses(ALONE, override(recipe, ["train.accumulate=1"]), tmp_path / "one", 6)
    run_together(2, record_losses, recipe, tmp_path / "two", 6)

    one, two = (torch.tensor(json.loads((tmp_path / run / "losses-6.json").read_text())) for run in ("one", "two"))
    assert one.shape == (6, 2, 4)
    torch.testing.assert_close(two, one, rtol=1e-5, atol=0)
    weights_one, weights_two = (load_file(tmp_path / run / "weights.safetensors") for run in ("one", "two"))
    torch.testing.assert_close(weights_two, weights_one, rtol=1e-3, atol=1e-5)


def test_two_processes_that_resume_end_with_the_same_weights_to_the_bit(tmp_path: Path, recipe: Recipe):
    run_together(2, record_losses, recipe, tmp_path / "whole", 4)
    run_together(2, record_losses, override(recipe, ["train.checkpoint_every=2"]), tmp_path / "broken", 4)
    for path in (tmp_path / "broken" / "checkpoints").glob("*4.pt"):
        path.unlink()  # as if it had been stopped after the second iteration
    run_together(2, record_losses, recipe, tmp_path / "broken", 4)

    whole, broken = (load_file(tmp_path / run / "weights.safetensors") for run in ("whole", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    assert len(json.loads((tmp_path / "broken" / "losses-4.json").read_text())) == 2


def test_torchrun_goes_on_from_the_last_checkpoint_when_a_process_dies(tmp_path: Path, recipe: Recipe):
    recipe = override(recipe, ["train.checkpoint_every=2"])
    torchrun = clean_processes().Process(target=launch_as_torchrun, args=(recipe, tmp_path / "run"))

    torchrun.start()
    torchrun.join(120)
    code = torchrun.exitcode
    torchrun.kill()

    assert code == 0
    # It died in the fifth iteration, so the second life began after the fourth.
    assert len(json.loads((tmp_path / "run" / "losses-6.json").read_text())) == 2
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def launch_as_torchrun(recipe: Recipe, run: Path) -> None:
    """What `torchrun --standalone --nproc-per-node 2 --max-restarts 1` does, in processes that have torch already."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        max_restarts=1,
        monitor_interval=0.1,
        run_id="one",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",  # of a process without threads of its own
    )
    elastic_launch(config, die_once_in_the_fifth_iteration)(recipe, run)


def die_once_in_the_fifth_iteration(recipe: Recipe, run: Path) -> None:
    with joined_processes() as processes:
        if is_restart():
            record_losses(processes, recipe, run, 6)
            return

        def die(report: IterationReport) -> None:
            if report.iteration == 5:
                os.kill(os.getpid(), signal.SIGKILL)

        train(recipe, run, resume=False, processes=processes, report=die)
