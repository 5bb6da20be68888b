import errno
import json
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from mspn.checkpoints.format import read_metadata
from mspn.config.data import DataConfig
from mspn.config.recipe import Recipe, override
from mspn.datasets.samples import Sample
from mspn.distributed import Processes
from mspn.errors import FileError, TrainingDivergedError, WeightsError
from mspn.training.checkpoint import find_checkpoints
from mspn.training.loop import train
from mspn.training.metrics import IterationReport, read_metrics
from mspn.training.tasks import Validation
from mspn.training.train_step import TrainStep
from tests.drawn_people import write_drawn_set
from tests.imagenet_file import imagenet_tensors
from tests.trained import small_and_fast, tiny_recipe
from tests.training.several import clean_processes


def test_a_resumed_run_ends_with_the_same_weights_to_the_bit(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=3)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=6))

    train(recipe, tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "broken", resume=False, report=_interrupt_at(5))
    train(recipe, tmp_path / "broken", resume=True)

    whole, broken = (load_file(tmp_path / run / "weights.safetensors") for run in ("whole", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_a_resumed_run_ends_with_the_same_states_of_random_generators(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=3)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=4))

    train(recipe, tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "broken", resume=False, report=_interrupt_at(3))
    train(recipe, tmp_path / "broken", resume=True)

    whole, broken = (
        torch.load(find_checkpoints(tmp_path / run)[0], weights_only=True)["random"][0] for run in ("whole", "broken")
    )
    assert torch.equal(whole["torch"], broken["torch"])
    assert torch.equal(whole["numpy"][1], broken["numpy"][1])
    assert whole["python"] == broken["python"]


def test_training_ends_early_when_nothing_gets_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path, num_images=2)
    settings = ["data.validation={annotations: annotations.json, images: images}", "train.patience=2"]
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=20), [*settings, "train.validate_every=1"])
    once = recipe.data.train[0].model_copy(update={"weight": 1.0})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": (once,)})})
    # One iteration an epoch, which the second wins: the fourth is the last.
    measured = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    monkeypatch.setattr(Validation, "measure", lambda *_: {"AP": next(measured)})

    train(recipe, tmp_path / "run", resume=False)
    train(recipe, tmp_path / "run", resume=True)

    assert find_checkpoints(tmp_path / "run")[0].name == "iteration-000000004.pt"
    assert next(measured) == 0.9


@pytest.mark.parametrize(("measured", "is_last"), [([0.1, 0.3, 0.3], True), ([0.1, 0.3, 0.2], False)])
def test_the_best_weights_are_the_last_of_those_with_the_highest_ap(
    measured: list[float], is_last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # A few held-out images are soon all right; the network goes on to learn, at lower rates.
    write_drawn_set(tmp_path, num_images=2)
    settings = ["data.validation={annotations: annotations.json, images: images}", "train.validate_every=1"]
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=3), settings)
    once = recipe.data.train[0].model_copy(update={"weight": 1.0})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": (once,)})})
    answers = iter(measured)
    monkeypatch.setattr(Validation, "measure", lambda *_: {"AP": next(answers)})

    weights = train(recipe, tmp_path / "run", resume=False)

    best, last = (load_file(path) for path in (weights.with_name("best.safetensors"), weights))
    assert all(torch.equal(best[name], last[name]) for name in last) == is_last


def _interrupt_at(last: int):
    def report(state: IterationReport) -> None:
        if state.iteration == last:
            raise KeyboardInterrupt

    return report


def test_metrics_have_a_line_per_epoch_and_none_twice_after_a_resume(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=4)
    # Four people drawn once an epoch, two a batch: two iterations an epoch.
    settings = ["train.checkpoint_every=1"]
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=6), settings)
    once = recipe.data.train[0].model_copy(update={"weight": 1.0})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": (once,)})})

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", resume=False, report=_interrupt_at(4))
    train(recipe, tmp_path / "run", resume=True)

    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["iteration"]) for line in lines] == [(1, 2), (2, 4), (3, 6)]
    assert lines[-1]["learning_rate"] == 0
    assert lines[0]["samples_per_second"] > 0
    assert 0 <= lines[0]["waiting_share"] <= 1


def test_metrics_of_a_resumed_run_average_the_iterations_before_the_resume_too(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=2)
    # Two people, two a batch, drawn ten times: ten iterations an epoch; rows every three and at its end.
    settings = ["train.checkpoint_every=4", "train.metrics_every=3"]
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=10), settings)
    ten_times = recipe.data.train[0].model_copy(update={"weight": 10.0})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": (ten_times,)})})

    train(recipe, tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "broken", resume=False, report=_interrupt_at(5))
    train(recipe, tmp_path / "broken", resume=True)

    whole, broken = (read_metrics(tmp_path / run) for run in ("whole", "broken"))
    assert [(row.epoch, row.iteration) for row in whole] == [(1, 3), (1, 6), (1, 9), (1, 10)]
    assert [(row.iteration, row.losses) for row in broken] == [(row.iteration, row.losses) for row in whole]


def test_weights_say_which_sessions_made_them(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=2)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=4))

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", resume=False, report=_interrupt_at(3))
    weights = train(recipe, tmp_path / "run", resume=True)

    sessions = read_metadata(weights).sessions
    assert [session.iteration for session in sessions] == [0, 2]
    assert {session.torch for session in sessions} == {torch.__version__}
    assert [one.people for one in sessions[0].data] == [2]


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path, num_images=2)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=6))

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", resume=False, report=_interrupt_at(3))
    before = find_checkpoints(tmp_path / "run")[0].read_bytes()
    monkeypatch.setattr(
        "mspn.training.train_step.normalize", lambda crops: crops.permute(0, 3, 1, 2).float() * float("nan")
    )

    with pytest.raises(
        TrainingDivergedError,
        match=r"the loss is nan at iteration 3; no checkpoint is written, .* keeps that of iteration 2",
    ):
        train(recipe, tmp_path / "run", resume=True)
    assert find_checkpoints(tmp_path / "run")[0].read_bytes() == before


def test_weights_that_are_no_numbers_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path, num_images=2)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=6))
    rates = []

    def step(self: TrainStep, parts: Sequence[Sample], rate: float) -> torch.Tensor:
        rates.append(rate)
        if len(rates) == 4:
            self.weights.get_parameter("stem.conv.conv.weight").data.fill_(float("nan"))
        return torch.ones(1, 4)

    monkeypatch.setattr(TrainStep, "step", step)

    with pytest.raises(
        TrainingDivergedError,
        match=r"the weights are not finite at iteration 4; no checkpoint .* keeps that of iteration 2: lower",
    ):
        train(recipe, tmp_path / "run", resume=False)


def test_processes_that_find_different_checkpoints_do_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path, num_images=2)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=2))
    train(recipe, tmp_path / "run", resume=False)
    # All have a checkpoint (1), but another process has one of iteration 4.
    monkeypatch.setattr(Processes, "highest", lambda self, value: 4 if value > 1 else value)

    with pytest.raises(
        ValueError,
        match=r"goes on from iteration 4, this one finds nothing later than 2 in .*run; all machines must see the same",
    ):
        train(override(recipe, ["train.iterations=6"]), tmp_path / "run", resume=True)


def test_changed_settings_take_effect_when_a_run_is_resumed(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=2)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=4))
    train(recipe, tmp_path / "run", resume=False)

    train(override(recipe, ["train.iterations=6", "train.weight_decay=0.5"]), tmp_path / "run", resume=True)

    state = torch.load(find_checkpoints(tmp_path / "run")[0], weights_only=True)
    assert state["optimizer"]["param_groups"][0]["weight_decay"] == 0.5
    assert state["iteration"] == 6
    with pytest.raises(ValueError, match=r"already has 6 iterations; set train.iterations to that or more, not 4"):
        train(recipe, tmp_path / "run", resume=True)


def test_a_damaged_image_is_reported_once_and_training_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_drawn_set(tmp_path, num_images=4)
    (tmp_path / "images" / "000000000002.png").write_bytes(b"no image")
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=6))

    train(recipe, tmp_path / "run", resume=False)

    messages = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert len(messages) == 1
    assert "000000000002.png cannot be read (1 such images so far)" in messages[0]


def test_more_than_one_unreadable_image_in_ten_stops_training(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=2)
    for image in (tmp_path / "images").iterdir():
        image.unlink()
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=6))

    with pytest.raises(ValueError, match=r"2 images cannot be read, the last is .*png; check data.root"):
        train(recipe, tmp_path / "run", resume=False)


def test_a_recipe_without_data_is_refused(tmp_path: Path):
    recipe = tiny_recipe(tmp_path, iterations=2).model_copy(update={"data": DataConfig()})

    with pytest.raises(ValueError, match="recipe tiny names no data to train on"):
        train(recipe, tmp_path / "run", resume=False)


def test_training_starts_from_imagenet_weights_and_needs_them_no_more_when_it_resumes(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=2)
    tensors = imagenet_tensors("resnet18", 8)
    torch.save(tensors, tmp_path / "resnet.pth")
    # Steps so small that the weights stay where they started.
    still = ["model.num_stages=2", "train.learning_rate=1e-20", f"train.initial_weights={tmp_path / 'resnet.pth'}"]
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=2), still)

    weights = load_file(train(recipe, tmp_path / "run", resume=False))
    (tmp_path / "resnet.pth").unlink()
    train(override(recipe, ["train.iterations=3"]), tmp_path / "run", resume=True)
    with pytest.raises(WeightsError, match=r"no ImageNet weights at .*resnet\.pth; check train\.initial_weights"):
        train(recipe, tmp_path / "another", resume=False)

    torch.testing.assert_close(weights["stem.conv.conv.weight"], tensors["conv1.weight"])
    torch.testing.assert_close(weights["stages.1.down.layers.3.1.conv2.conv.weight"], tensors["layer4.1.conv2.weight"])


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=2)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=2))
    train(recipe, tmp_path / "run", resume=False)

    with pytest.raises(ValueError, match="run already holds a run; resume it, or choose another folder"):
        train(recipe, tmp_path / "run", resume=False)


def train_until_a_reader_is_killed(recipe: Recipe, run: Path, message: Path) -> None:
    def kill_readers(report: IterationReport) -> None:
        if report.iteration == 3:
            for child in multiprocessing.active_children():
                child.kill()

    try:
        train(recipe, run, resume=False, report=kill_readers)
    except OSError as error:
        message.write_text(str(error))


def test_a_killed_reading_process_stops_training_and_leaves_the_last_checkpoint(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=2)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=400), ["data.workers=1", "train.threads=1"])
    run, message = tmp_path / "run", tmp_path / "message"

    # In a process of its own: torch goes on raising as long as anything remembers the reader.
    process = clean_processes().Process(target=train_until_a_reader_is_killed, args=(recipe, run, message))
    process.start()
    process.join(60)

    assert "a process that reads images was killed, perhaps for want of memory" in message.read_text()
    assert f"{run} keeps that of iteration" in message.read_text()
    assert find_checkpoints(run)


def test_readers_that_cannot_be_started_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path, num_images=2)

    def fail(_loader: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DataLoader, "__iter__", fail)

    with pytest.raises(FileError, match=r"cannot start .* \(No space left on device\); is there room in /dev/shm\?"):
        train(small_and_fast(tiny_recipe(tmp_path, iterations=2)), tmp_path / "run", resume=False)


def test_training_goes_on_without_a_report_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_drawn_set(tmp_path, num_images=2)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=3))

    def damage(report: IterationReport) -> None:
        (tmp_path / "run" / "environment.json").write_text("{")

    weights = train(recipe, tmp_path / "run", resume=False, report=damage)

    assert weights.is_file()
    assert "no report.html: " in caplog.text
    assert "environment.json is damaged" in caplog.text
