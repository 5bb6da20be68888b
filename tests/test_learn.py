"""The commands of the pages under docs/learn run as they stand there, with fewer iterations."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from benchmarks.drawn_animals import write_material
from tests.cli.runner import run
from tests.serve.test_server import serving

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "learn"
SAMPLE = ROOT / "src" / "mspn" / "assets" / "sample"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHORT = ("train.iterations=2", "train.batch_size=2", "data.workers=0", "model.input_size=[64, 64]")


def commands_of(page: str) -> list[list[str]]:
    """The words of each command in the blocks of a page that name no language."""
    text = (PAGES / page).read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = [block for language, block in _BLOCK.findall(text) if not language]
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


def example_of(page: str) -> str:
    """The block of a page that is Python."""
    (example,) = [block for language, block in _BLOCK.findall((PAGES / page).read_text()) if language == "python"]
    return str(example)


def accept(export: Path, tasks: Path) -> list[Any]:
    """What Label Studio exports next when somebody has accepted all pre-labels."""
    accepted = [task | {"annotations": task["predictions"]} for task in json.loads(tasks.read_text())]
    return [*json.loads(export.read_text()), *accepted]


@pytest.mark.slow
def test_the_loop_of_own_keypoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    generator, *commands = commands_of("own-keypoints.md")
    assert generator == ["python", "-m", "benchmarks.drawn_animals", "."]
    write_material(tmp_path, count=5, num_new=2)

    for program, *arguments in commands:
        if "more.json" in arguments:
            Path("more.json").write_text(json.dumps(accept(Path("export.json"), Path("next/tasks.json"))))
        short = [word for setting in _SHORT for word in ("--set", setting)] if arguments[0] == "train" else []
        result = run(*arguments, *short)

        assert program == "mspn"
        assert result.exit_code == 0, (arguments, result.output)

    # From the drawings to predictions: eight commands, and one to train again.
    assert len(commands) == 8
    # The network sees whole pictures, and needs no detector of people.
    entries = json.loads((tmp_path / "predictions" / "predictions.json").read_text())
    assert [person["box"] for entry in entries for person in entry["people"]] == [[0, 0, 256, 256]] * 2
    assert len(list((tmp_path / "predictions" / "images").iterdir())) == 2
    assert (tmp_path / "run2" / "best.safetensors").is_file()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a photo in `photos`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    shutil.copy(SAMPLE / "astronaut.jpg", tmp_path / "photos")
    return tmp_path


def test_finding_poses(photos: Path):
    for _, *arguments in commands_of("find-poses.md"):
        result = run(*arguments)

        assert result.exit_code == 0, (arguments, result.output)

    for folder in ("predictions", "more", "whole"):
        assert json.loads((photos / folder / "predictions.json").read_text())[0]["people"]


def test_finding_poses_in_python(photos: Path, capsys: pytest.CaptureFixture[str]):
    exec(compile(example_of("find-poses.md"), "find-poses.md", "exec"), {})

    assert re.match(r"photos/astronaut\.jpg 0\.\d+ \[", capsys.readouterr().out)


def test_following_people_through_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shorten(SAMPLE / "pan.mp4", tmp_path / "match.mp4", num_frames=8)

    for _, *arguments in commands_of("track-a-video.md"):
        result = run(*arguments)

        assert result.exit_code == 0, (arguments, result.output)

    assert (tmp_path / "angles" / "report.html").is_file()
    assert list((tmp_path / "export").iterdir())


def shorten(video: Path, short: Path, num_frames: int) -> None:
    reader = cv2.VideoCapture(str(video))
    frames = [reader.read()[1] for _ in range(num_frames)]
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(short), cv2.VideoWriter_fourcc(*"mp4v"), 25, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()


@pytest.mark.slow
def test_answering_over_http(photos: Path, capsys: pytest.CaptureFixture[str]):
    if shutil.which("curl") is None:
        pytest.skip("curl, which the page asks with, is not installed")
    shutil.copy(SAMPLE / "camera.jpg", photos / "photos")
    start, *requests = commands_of("serve.md")
    assert start == ["mspn", "serve", "--port", "8000"]
    answers = []

    with serving() as (_, port):
        for program, *arguments in requests:
            here = [argument.replace(":8000", f":{port}") for argument in arguments]
            done = subprocess.run([program, "--silent", "--fail", *here], check=True, capture_output=True, timeout=60)
            answers.append(done.stdout.decode())
        exec(compile(example_of("serve.md").replace(":8000", f":{port}"), "serve.md", "exec"), {})

    one, batch, _, ready, metrics = answers
    assert len(json.loads(one)["people"]) == 1
    assert [entry["source"] for entry in json.loads(batch)] == ["astronaut.jpg", "camera.jpg"]
    assert cv2.imread("drawn.jpg").shape == cv2.imread("photos/astronaut.jpg").shape
    assert "ready" in ready
    assert "mspn_" in metrics
    assert re.match(r"1 \[\d+\.\d+, ", capsys.readouterr().out)


@pytest.mark.slow
def test_predicting_on_ray(photos: Path):
    pytest.importorskip("ray.data")
    from pyarrow import parquet

    shutil.copy(SAMPLE / "camera.jpg", photos / "photos")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    python = [sys.executable, "-m"]

    for command in commands_of("scale-out.md"):
        done = subprocess.run(
            [*python, *command], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
    shown = subprocess.run(
        [sys.executable, "-c", example_of("scale-out.md")], capture_output=True, text=True, check=False
    )

    for folder in ("poses", "shards"):
        sources = parquet.read_table(photos / folder / "poses")["source"].to_pylist()
        assert sorted(sources) == ["photos/astronaut.jpg", "photos/camera.jpg"]
    assert re.match(r"2 images, 2 people, mean score 0\.\d+\n", shown.stdout), shown.stderr


@pytest.mark.slow
def test_taking_the_network_elsewhere(photos: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    for _, *arguments in commands_of("export.md"):
        result = run(*arguments)

        assert result.exit_code == 0, (arguments, result.output)
    exec(compile(example_of("export.md"), "export.md", "exec"), {})

    assert json.loads((photos / "predictions" / "predictions.json").read_text())[0]["people"]
    assert capsys.readouterr().out.startswith("[[")


def test_every_page_of_learn_is_tried():
    assert {page.stem for page in PAGES.iterdir()} == {
        "find-poses",
        "track-a-video",
        "own-keypoints",
        "serve",
        "scale-out",
        "export",
    }
