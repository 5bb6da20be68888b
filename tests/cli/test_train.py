import io
import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from mspn.cli import train as command
from mspn.cli.train import _display, describe
from mspn.config.recipes import find_recipe
from mspn.distributed import ALONE
from mspn.io.files import locked_folder
from mspn.training.checkpoint import load_recipe
from mspn.training.loop import train
from mspn.training.metrics import IterationReport
from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set

STATE = IterationReport(
    iteration=7,
    losses=[[10.0, 2.5], [4.0, 1.5]],
    learning_rate=5e-4,
    samples_per_second=61.6,
    waiting_share=0.125,
    memory_mib=1023.7,
    average_precision=None,
)


def narrow(folder: Path) -> list[str]:
    settings = [
        f"data.root={folder}",
        "data.workers=0",
        "data.train=[{annotations: set/annotations.json, images: set/images, weight: 4}]",
        *("model.stem_channels=8", "model.up_channels=8", "model.input_size=[64, 64]"),
        *("train.batch_size=2", "train.iterations=4", "train.precision=float32"),
    ]
    return [word for setting in settings for word in ("--set", setting)]


def test_the_display_says_losses_by_stage_and_level_speed_and_waiting():
    assert describe(STATE).splitlines() == [
        "loss 18.0 = 10.0 2.5 | 4.0 1.5 (stages, fine to coarse)",
        "61.6 samples/s, 12% waiting for data, rate 5.00e-04, 1024 MiB",
    ]


def test_the_display_says_the_average_precision_once_it_is_known():
    assert describe(STATE._replace(average_precision=0.5)).endswith("1024 MiB, AP 0.500")


def train_and_tell(told, *arguments, **options):
    return train(*arguments, **options | {"report": told})


def test_training_that_is_stopped_says_how_to_go_on_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path / "set", num_images=2)

    def ask_at_once(state: IterationReport) -> None:
        if state.iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(command, "train", partial(train_and_tell, ask_at_once))
        stopped = run("train", "study-mspn-2", "--out", tmp_path / "run", *narrow(tmp_path))
    resumed = run("train", "study-mspn-2", "--out", tmp_path / "run", "--resume")

    assert stopped.exit_code == 128 + signal.SIGTERM
    assert (
        f"stopped by SIGTERM after iteration 2; the checkpoint is written. Go on with: mspn train study-mspn-2"
        f" --out {tmp_path / 'run'} --resume" in stopped.stderr
    )
    assert resumed.exit_code == 0, resumed.output
    assert f"weights: {tmp_path / 'run' / 'weights.safetensors'}" in resumed.stdout


def test_a_run_folder_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "run").write_text("a file")

    result = run("train", "study-mspn-2", "--out", tmp_path / "run", *narrow(tmp_path))

    assert f"cannot write to the folder {tmp_path / 'run'} (File exists); choose another --out" in error_line(result)


def test_after_torchrun_started_a_process_again_it_resumes_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path / "set", num_images=2)
    first = run("train", "study-mspn-2", "--out", tmp_path / "run", *narrow(tmp_path))
    assert first.exit_code == 0, first.output

    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    again = run("train", "study-mspn-2", "--out", tmp_path / "run", *narrow(tmp_path))

    assert again.exit_code == 0, again.output


def test_on_a_terminal_a_bar_is_drawn_with_the_details_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path / "set", num_images=2)
    screen = io.StringIO()
    monkeypatch.setattr(command, "SafeConsole", lambda stderr: Console(file=screen, force_terminal=True, width=100))

    run("train", "study-mspn-2", "--out", tmp_path / "run", *narrow(tmp_path))

    assert "4/4" in screen.getvalue()
    assert "samples/s" in screen.getvalue()
    assert "(stages, fine to coarse)" in screen.getvalue()


def test_without_a_terminal_a_line_appears_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    now = [0.0]
    monkeypatch.setattr("mspn.cli.progress.time.monotonic", lambda: now[0])
    recipe = find_recipe("mspn-2")  # 96,000 iterations of 256 people

    with _display(recipe, ALONE) as display:
        for now[0] in (5.0, 10.0, 19.0):
            display.report(STATE._replace(iteration=int(now[0])))
        for now[0] in (20.0, 21.0):
            display.report_validation(int(now[0]), 499)

    # 95,990 iterations are left after the tenth, at 61.6 people a second.
    assert capsys.readouterr().err.splitlines() == [
        "iteration 10 of 96000: loss 18.00, 61.6 samples/s, 12% waiting for data, about 6649 min left",
        "validating: 20 of 499 images",
    ]


def test_labels_of_other_bodies_bring_their_keypoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    annotations = write_drawn_set(tmp_path / "set", num_images=2)
    content = json.loads(annotations.read_text())
    parts = [f"{side} fin {number}" for number in range(8) for side in ("left", "Right")]
    content["categories"][0] |= {"name": "fish", "keypoints": ["tail", *parts]}
    annotations.write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "mspn-tiny", *narrow(tmp_path), "--set", "data.train=set/annotations.json"]

    result = run(*arguments, "--out", "run")

    assert result.exit_code == 0, result.output
    skeleton = load_recipe(tmp_path / "run").keypoint_table
    assert skeleton.keypoints == ("tail", *parts)
    assert len(skeleton.mirrored_pairs) == 8
    assert load_recipe(tmp_path / "run").model.num_keypoints == 17
    refused = run(*arguments, "--set", "skeleton=coco-17", "--out", "other")
    assert "labels 0 of coco-17's 17 keypoints" in error_line(refused)
    assert "--set skeleton=" in error_line(refused)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path / "set", num_images=2)
    monkeypatch.setattr("mspn.io.files._SECONDS_TO_LOCK", 0)

    with locked_folder(tmp_path / "run"):
        refused = run("train", "mspn-tiny", "--out", tmp_path / "run", *narrow(tmp_path))

    assert f"another process is writing into {tmp_path / 'run'}; wait until it has ended" in error_line(refused)
    assert not (tmp_path / "run").exists() or list((tmp_path / "run").iterdir()) == []
