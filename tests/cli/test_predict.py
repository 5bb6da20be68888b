import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from mspn.cli.app import app
from mspn.io.files import locked_folder
from mspn.io.limits import InputLimits
from mspn.outputs.journal import JOURNAL_FILE, Journal
from mspn.predict import pipeline
from mspn.predict.pipeline import _MAX_IMAGES, ImageResult
from mspn.sources import open_source
from mspn.structures.image import Image, SourceFailure
from tests.cli.runner import error_line, run
from tests.untrained import untrained_weights

FILES = ("predictions.json", "predictions.jsonl", "coco.json", "predictions.csv")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of twelve images of noise."""
    folder = tmp_path / "in"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(12):
        cv2.imwrite(str(folder / f"{number}.png"), random.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    return folder


@pytest.fixture
def arguments(tmp_path: Path, images: Path) -> list[object]:
    """A command that takes two people at once."""
    weights = untrained_weights(tmp_path)
    return [
        "predict",
        images,
        "--model",
        weights,
        "--detector",
        "none",
        "--batch",
        2,
        "--save",
        "json,jsonl,coco,csv,images",
    ]


def _interrupt_after(monkeypatch: pytest.MonkeyPatch, number: int, signals: list[signal.Signals]) -> None:
    """Send the signals once so many results are written; stages are one image ahead, so that not all have been read."""
    monkeypatch.setattr(pipeline, "_MAX_IMAGES", 1)
    count = 0
    note = Journal.append

    def note_and_interrupt(self: Journal, result: ImageResult) -> None:
        nonlocal count
        note(self, result)
        count += 1
        if count == number:
            for one in signals:
                os.kill(os.getpid(), one)

    monkeypatch.setattr(Journal, "append", note_and_interrupt)


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        ([signal.SIGINT, signal.SIGINT], 130),
    ],
)
def test_a_run_that_is_stopped_and_goes_on_leaves_what_an_undisturbed_one_does(
    tmp_path: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch, signals: list[signal.Signals], code: int
):
    if any(signal.getsignal(one) is signal.SIG_IGN for one in signals):
        pytest.skip("a signal is ignored here, as hang-ups are under nohup")
    run(*arguments, "--out", tmp_path / "whole")
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        _interrupt_after(patched, 3, signals)
        stopped = run(*arguments, "--out", tmp_path / "out")
    done = len((tmp_path / "out" / JOURNAL_FILE).read_text().splitlines()) - 1

    assert stopped.exit_code == code, stopped.output
    assert "stopped; results so far are kept. Continue with the same command and --resume" in stopped.stderr
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == done >= 3
    assert signal.getsignal(signal.SIGINT) == before

    resumed = run(*arguments, "--out", tmp_path / "out", "--resume")

    assert resumed.exit_code == 0, resumed.output
    assert f"resuming: {done} images are done" in resumed.stderr
    assert "12 images, 12 people" in resumed.stdout
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(list((tmp_path / "out" / "images").iterdir())) == 12


def test_what_is_done_is_neither_decoded_nor_estimated_again(
    tmp_path: Path, images: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
):
    first = run(*arguments, "--out", tmp_path / "out", "--save", "json")
    cv2.imwrite(str(images / "new.png"), np.zeros((64, 64, 3), np.uint8))
    opened = []

    def open_and_note(source: Path, limits: InputLimits) -> Iterator[Image | SourceFailure]:
        opened.append(source.name)
        return open_source(source, limits)

    monkeypatch.setattr("mspn.cli.predict.open_source", open_and_note)
    again = run(*arguments, "--out", tmp_path / "out", "--save", "csv", "--resume")

    assert first.exit_code == again.exit_code == 0, again.output
    assert opened == ["new.png"]
    assert "13 images, 13 people" in again.stdout
    assert len((tmp_path / "out" / "predictions.csv").read_text().splitlines()) == 1 + 13 * 17
    # Also what the first run has written is brought up to date.
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 13


def test_an_image_that_has_changed_is_done_anew(
    tmp_path: Path, images: Path, arguments: list[object], caplog: pytest.LogCaptureFixture
):
    run(*arguments, "--out", tmp_path / "out", "--save", "json")
    before = json.loads((tmp_path / "out" / "predictions.json").read_text())
    (images / "5.png").touch()
    status = (images / "3.png").stat()
    cv2.imwrite(str(images / "3.png"), np.eye(80, 64, dtype=np.uint8) * 255)
    os.utime(images / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns))

    with caplog.at_level(logging.INFO):
        run(*arguments, "--out", tmp_path / "out", "--save", "json", "--resume")

    after = json.loads((tmp_path / "out" / "predictions.json").read_text())
    changed = [one["source"] for one, other in zip(before, after, strict=True) if one != other]
    assert changed == [str(images / "3.png")]
    assert next(row for row in after if row["source"] in changed)["height"] == 80
    assert [record.getMessage() for record in caplog.records if "changed" in record.getMessage()] == [
        f"{images / '3.png'} has changed since it was done, and is done anew"
    ]


@pytest.mark.parametrize("option", ["--model", "--boxes", "--detector"])
def test_going_on_with_other_contents_of_a_file_is_refused(tmp_path: Path, arguments: list[object], option: str):
    weights = arguments[arguments.index("--model") + 1]
    assert isinstance(weights, Path)
    boxes, detector = tmp_path / "boxes.json", tmp_path / "detector.py"
    boxes.write_text('{"1.png": [[0, 0, 30, 60]]}')
    detector.write_text("from mspn.detectors.base import FullImage as Mine\n")
    index = arguments.index("--detector")
    if option == "--boxes":
        arguments[index : index + 2] = ["--boxes", boxes]
    if option == "--detector":
        arguments[index + 1] = "detector:Mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        assert run(*arguments, "--out", tmp_path / "out", "--save", "json").exit_code == 0
        if option == "--model":
            content = bytearray(weights.read_bytes())
            content[-4] ^= 1  # the lowest bit of the last number
            weights.write_bytes(content)
        boxes.write_text('{"1.png": [[0, 0, 40, 60]]}')
        detector.write_text("from mspn.detectors.base import FullImage as Mine  # another\n")

        refused = run(*arguments, "--out", tmp_path / "out", "--save", "json", "--resume")

    name = {"--model": "weights", "--boxes": "boxes", "--detector": "detector"}[option]
    assert f"holds results of {name} " in error_line(refused)


def test_going_on_with_other_settings_is_refused(tmp_path: Path, arguments: list[object]):
    run(*arguments, "--out", tmp_path / "out")

    refused = run(*arguments, "--out", tmp_path / "out", "--resume", "--threshold", 0.5)

    assert "holds results of threshold 0.3, not of threshold 0.5" in error_line(refused)


def test_a_used_folder_is_refused_and_overwritten_where_that_is_asked_for(tmp_path: Path, arguments: list[object]):
    out = tmp_path / "out"
    run(*arguments, "--out", out, "--save", "json,csv,images")

    refused = run(*arguments, "--out", out, "--save", "json")
    kept = sorted(path.name for path in out.iterdir())
    overwritten = run(*arguments, "--out", out, "--save", "json", "--overwrite")

    assert f"{out} already holds results; --resume goes on with them" in error_line(refused)
    assert kept == ["images", "predictions.csv", "predictions.json", JOURNAL_FILE]
    assert overwritten.exit_code == 0, overwritten.output
    assert sorted(path.name for path in out.iterdir()) == ["predictions.json", JOURNAL_FILE]


def test_results_that_are_a_source_are_never_removed(tmp_path: Path, arguments: list[object]):
    out = tmp_path / "out"
    run(*arguments, "--out", out, "--save", "images")

    refused = run("predict", out / "images", *arguments[2:], "--out", out, "--save", "json", "--overwrite")

    assert f"{out / 'images'} is where {out} has its results; choose another --out" in error_line(refused)
    assert len(list((out / "images").iterdir())) == 12


def test_two_runs_do_not_write_into_one_folder(
    tmp_path: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mspn.io.files._SECONDS_TO_LOCK", 0)
    with locked_folder(tmp_path / "out"):
        refused = run(*arguments, "--out", tmp_path / "out")

    assert f"another process is writing into {tmp_path / 'out'}; wait until it has ended" in error_line(refused)
    assert run(*arguments, "--out", tmp_path / "out").exit_code == 0


def test_what_a_killed_run_has_left_is_removed(tmp_path: Path, arguments: list[object]):
    out = tmp_path / "out"
    for folder in (out, out / "images", out / "images" / "sub"):
        leftover = folder / ".a-0123abcd-0.partial"
        leftover.mkdir(parents=True)
        (leftover / ".lock").touch()

    result = run(*arguments, "--out", out)

    assert result.exit_code == 0, result.output
    assert list(out.rglob("*.partial")) == []


def test_results_keep_the_folders_of_their_images(tmp_path: Path, images: Path, arguments: list[object]):
    (images / "sub").mkdir()
    (images / "3.png").rename(images / "sub" / "3 (1).png")

    run(*arguments, "--out", tmp_path / "out", "--save", "yolo,images,coco")

    for kind, suffix in (("yolo/labels", "txt"), ("images", "jpg")):
        folder = tmp_path / "out" / kind
        names = {path.relative_to(folder).as_posix() for path in folder.rglob(f"*.{suffix}")}
        assert names == {f"{number}.{suffix}" for number in range(12) if number != 3} | {f"sub/3 (1).{suffix}"}
    rows = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert "sub/3 (1).png" in [row["file_name"] for row in rows]


def test_image_ids_come_from_the_annotation_file(tmp_path: Path, arguments: list[object]):
    labels = tmp_path / "labels.json"
    entries = [{"id": 900 + number, "file_name": f"{number}.png"} for number in range(12)]
    boxes = [{"image_id": 900 + number, "bbox": [0, 0, 60, 60], "id": number} for number in range(12)]
    labels.write_text(json.dumps({"images": entries, "annotations": boxes}))

    run(*arguments, "--out", tmp_path / "one", "--save", "coco", "--annotations", labels)
    index = arguments.index("--detector")
    arguments[index : index + 2] = ["--boxes", labels]
    run(*arguments, "--out", tmp_path / "two", "--save", "coco")

    for folder in ("one", "two"):
        rows = json.loads((tmp_path / folder / "coco.json").read_text())
        assert {row["image_id"]: row["file_name"] for row in rows} == {
            900 + number: f"{number}.png" for number in range(12)
        }


def test_an_image_that_vanishes_while_running_is_one_line_and_the_others_are_done(
    tmp_path: Path, images: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
):
    note = Journal.append

    def note_and_remove(self: Journal, result: ImageResult) -> None:
        note(self, result)
        (images / "9.png").unlink(missing_ok=True)

    # More than the three stages hold between them: the last one is not read when the first result is noted.
    for number in range(100, 100 + 4 * _MAX_IMAGES):
        (images / f"{number}.png").write_bytes((images / "0.png").read_bytes())
    monkeypatch.setattr(Journal, "append", note_and_remove)

    result = run(*arguments, "--out", tmp_path / "out")

    assert result.exit_code == 1, result.output
    (line,) = result.stderr.strip().splitlines()
    assert "9.png" in line
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 4 * _MAX_IMAGES + 11


def test_a_full_disk_is_one_line_and_what_is_written_stays(
    tmp_path: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
):
    run(*arguments, "--out", tmp_path / "whole")

    with monkeypatch.context() as patched:
        _fill_disk_after(patched, 4)
        full = run(*arguments, "--out", tmp_path / "out")

    assert "progress.jsonl (No space left on device); is there room on the disk?" in error_line(full)
    assert len((tmp_path / "out" / JOURNAL_FILE).read_text().splitlines()) == 1 + 4
    assert run(*arguments, "--out", tmp_path / "out", "--resume").exit_code == 0
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def _fill_disk_after(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    count = 0
    note = Journal.append

    def note_until_full(self: Journal, result: ImageResult) -> None:
        nonlocal count
        count += 1
        if count > number:
            self._file.close()
            self._file = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115
        note(self, result)

    monkeypatch.setattr(Journal, "append", note_until_full)


def test_people_are_found_in_every_so_many_th_frame_of_a_video(tmp_path: Path, arguments: list[object]):
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for number in range(8):
            pixels = np.full((64, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())

    result = run("predict", path, *arguments[2:], "--out", tmp_path / "out", "--detect-every", 3, "--save", "json")

    assert result.exit_code == 0, result.output
    assert "8 images, 8 people" in result.stdout
    assert "8 in 8 frames" in result.stdout


def test_nobody_in_an_image_is_an_empty_list(tmp_path: Path, images: Path, arguments: list[object]):
    (tmp_path / "boxes.json").write_text(json.dumps({f"{number}.png": [] for number in range(12)}))

    index = arguments.index("--detector")
    without_detector = arguments[:index] + arguments[index + 2 :]
    result = run(*without_detector, "--out", tmp_path / "out", "--boxes", tmp_path / "boxes.json", "--save", "json")

    assert result.exit_code == 0, result.output
    assert "12 images, 0 people" in result.stdout
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["people"] for row in rows] == [[]] * 12


def test_a_list_on_standard_input_names_images(tmp_path: Path, images: Path, arguments: list[object]):
    names = "".join(f"{path}\n" for path in sorted(images.iterdir()))
    texts = [str(one) for one in arguments]
    result = CliRunner().invoke(app, ["predict", "-", *texts[2:], "--out", str(tmp_path / "out")], input=names)

    assert result.exit_code == 0, result.output
    assert "12 images, 12 people" in result.stdout


def test_a_network_that_is_none_is_refused(arguments: list[object]):
    line = error_line(run(*arguments, "--allow-network", "home"))

    assert "--allow-network home: 'home' does not appear to be an IPv4 or IPv6 network; write one such as" in line


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text_are_said_on_one_line_and_written(tmp_path: Path, images: Path, arguments: list[object]):
    (images / os.fsdecode(b"caf\xe9\n\x1b.png")).write_text("no image")
    (images / "0.png").rename(images / os.fsdecode(b"caf\xe9.png"))

    result = run(*arguments, "--out", tmp_path / "out", "--save", "csv,json")

    assert result.exit_code == 1, result.output
    assert rf"skipped: {images}/caf\udce9\n\x1b.png is not an image" in result.stderr
    assert rf"{images}/caf\udce9.png," in (tmp_path / "out" / "predictions.csv").read_text()
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 12


def test_an_engine_that_is_not_installed_is_refused_in_one_line(
    arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "openvino", None)

    result = run(*arguments, "--engine", "openvino", "--out", tmp_path / "out")

    assert error_line(result) == "error: engine openvino is not installed; pip install 'mspn[openvino]'"


def test_shards_are_predicted_apart_and_joined(tmp_path: Path, arguments: list[object]):
    saved = ("--save", "json,coco")
    run(*arguments, "--out", tmp_path / "whole", *saved)
    for number in (1, 2, 3):
        part = run(*arguments, "--out", tmp_path / f"part-{number}", "--shard", f"{number}/3", *saved)
        assert "4 images, 4 people" in part.stdout

    incomplete = run("merge", tmp_path / "part-1", tmp_path / "part-3", "--out", tmp_path / "two")
    joined = run("merge", *(tmp_path / f"part-{number}" for number in (3, 1, 2)), "--out", tmp_path / "joined")

    assert (incomplete.exit_code, joined.exit_code) == (1, 0), joined.output
    assert "missing: 2/3; predict what is missing" in incomplete.stderr
    for name in ("predictions.json", "coco.json"):
        rows, expected = (json.loads((tmp_path / run_ / name).read_text()) for run_ in ("joined", "whole"))
        keys = ("source", "image_id", "file_name")
        assert [[row.get(key) for key in keys] for row in rows] == [[row.get(key) for key in keys] for row in expected]
    refused = run(*arguments, "--out", tmp_path / "part-1", "--shard", "2/3", "--resume")
    assert 'holds results of shard "1/3", not of shard "2/3"' in error_line(refused)
