import multiprocessing
import os
import random
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mspn.config.recipe import Recipe, override
from mspn.errors import TrainingStoppedError
from mspn.interrupts import stop_requests
from mspn.training.checkpoint import find_checkpoints
from mspn.training.loop import train
from mspn.training.metrics import IterationReport
from tests.drawn_people import write_drawn_set
from tests.full_disk import full_disk
from tests.trained import small_and_fast, tiny_recipe
from tests.training.several import clean_processes


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    write_drawn_set(tmp_path, num_images=3)
    return small_and_fast(tiny_recipe(tmp_path, iterations=30), ["train.threads=1", "train.ema_decay=0.9"])


def have_the_same_weights(one: Path, other: Path) -> bool:
    first, second = (load_file(run / "weights.safetensors") for run in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def train_and_tell(recipe: Recipe, run: Path, counter) -> None:
    def note(report: IterationReport) -> None:
        counter.value = report.iteration

    train(recipe, run, resume=True, report=note)


@pytest.mark.slow
def test_killed_ten_times_and_resumed_a_run_ends_with_the_same_weights_to_the_bit(tmp_path: Path, recipe: Recipe):
    """Above 10 s: only a real process can be killed at any moment, and each of ten builds and restores the run anew."""
    chance = random.Random(4)
    train(recipe, tmp_path / "whole", resume=False)
    processes = clean_processes()
    counter = processes.Value("i", 0)

    kills = 0
    while kills < 10:
        # Two to four iterations on, then at any moment: in a step, or while a checkpoint is being written.
        target = counter.value + chance.randint(2, 4) if counter.value < 26 else 26
        process = processes.Process(target=train_and_tell, args=(recipe, tmp_path / "killed", counter))
        process.start()
        while counter.value < target and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        found = find_checkpoints(tmp_path / "killed")
        counter.value = int(found[0].stem.removeprefix("iteration-")) if found else 0
    train(recipe, tmp_path / "killed", resume=True)

    assert have_the_same_weights(tmp_path / "whole", tmp_path / "killed")
    assert not list(tmp_path.glob("killed/.*"))
    assert not list(tmp_path.glob("killed/checkpoints/.*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_writes_a_checkpoint_and_goes_on_from_it(
    tmp_path: Path, recipe: Recipe, number: signal.Signals
):
    recipe = override(recipe, ["train.iterations=7", "train.checkpoint_every=100"])

    def ask(report: IterationReport) -> None:
        if report.iteration == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(TrainingStoppedError, match=f"stopped by {number.name} after iteration 3") as stopped:
        train(recipe, tmp_path / "stopped", resume=False, report=ask)
    assert [path.stem for path in find_checkpoints(tmp_path / "stopped")] == ["iteration-000000003"]
    assert stopped.value.signal_number == number
    train(recipe, tmp_path / "stopped", resume=True)

    train(recipe, tmp_path / "whole", resume=False)
    assert have_the_same_weights(tmp_path / "whole", tmp_path / "stopped")


def train_until_the_group_is_asked_to_stop(recipe: Recipe, run: Path, message: Path) -> None:
    os.setpgid(0, 0)

    def ask_the_group(report: IterationReport) -> None:
        if report.iteration == 3:
            os.killpg(0, signal.SIGTERM)

    try:
        train(recipe, run, resume=False, report=ask_the_group)
    except TrainingStoppedError as stopped:
        message.write_text(str(stopped))


def test_a_signal_to_the_whole_group_of_processes_stops_as_one_to_the_main_process(tmp_path: Path, recipe: Recipe):
    # `timeout` sends such signals, and schedulers.
    recipe = override(recipe, ["data.workers=1", "train.iterations=400", "train.checkpoint_every=1000"])
    run, message = tmp_path / "run", tmp_path / "message"

    process = clean_processes().Process(
        target=train_until_the_group_is_asked_to_stop, args=(recipe, run, message), daemon=False
    )
    process.start()
    process.join(60)

    assert message.read_text() == "stopped by SIGTERM after iteration 3"
    assert [path.stem for path in find_checkpoints(run)] == ["iteration-000000003"]
    assert process.exitcode == 0


def train_and_signal_the_readers(recipe: Recipe, run: Path) -> None:
    def signal_the_readers(report: IterationReport) -> None:
        if report.iteration == 3:
            readers = [str(child.pid) for child in multiprocessing.active_children()]
            # From outside: torch lets a reader end in peace when the main process asks it to.
            subprocess.run(["kill", "-TERM", *readers], check=True)

    train(recipe, run, resume=False, report=signal_the_readers)


def test_readers_of_images_ignore_a_signal_that_every_process_of_a_job_gets(tmp_path: Path, recipe: Recipe):
    recipe = override(recipe, ["data.workers=1"])

    process = clean_processes().Process(
        target=train_and_signal_the_readers, args=(recipe, tmp_path / "run"), daemon=False
    )
    process.start()
    process.join(60)

    assert process.exitcode == 0


def test_signals_mean_what_they_meant_before_once_training_has_ended():
    before = signal.getsignal(signal.SIGTERM)

    with stop_requests() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.signal_number == signal.SIGTERM

    assert signal.getsignal(signal.SIGTERM) == before


def test_asking_twice_ends_at_once_where_that_is_wanted():
    with stop_requests(raise_on_second=True) as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.signal_number == signal.SIGTERM

        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_in_another_thread_signals_are_left_alone():
    heard = []

    def listen() -> None:
        with stop_requests() as request:
            heard.append(request.signal_number)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()

    assert heard == [0]


def test_a_full_disk_stops_with_the_step_and_leaves_the_last_checkpoint(tmp_path: Path, recipe: Recipe):
    recipe = override(recipe, ["train.iterations=8"])
    with ExitStack() as stack:

        def fill_the_disk(report: IterationReport) -> None:
            if report.iteration == 3:
                stack.enter_context(full_disk(20_000))

        with pytest.raises(
            OSError,
            match=r"iteration 4 cannot be written \(.*\); .*run keeps that of iteration 2: make room",
        ):
            train(recipe, tmp_path / "run", resume=False, report=fill_the_disk)

    assert [path.stem for path in find_checkpoints(tmp_path / "run")] == ["iteration-000000002"]
    train(recipe, tmp_path / "run", resume=True)
    train(recipe, tmp_path / "whole", resume=False)
    assert have_the_same_weights(tmp_path / "whole", tmp_path / "run")
