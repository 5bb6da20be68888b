import io
from functools import partial

import numpy as np
import pytest
from rich.console import Console

from mspn.cli.progress import Tally, show_count, show_progress
from mspn.interrupts import stop_requests
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box, Size
from mspn.structures.image import FrameInfo, Image, Video
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17

PIXELS = np.zeros((4, 4, 3), np.uint8)
POSE = Pose(COCO_17, np.zeros((17, 2)), np.ones(17), 0.75, 1.2, Box(0, 0, 4, 4), 0.75)


def _image(number: int, people: int = 1) -> ImageResult:
    name = f"{number}.jpg"
    return ImageResult(name, Image(name, PIXELS), [POSE] * people, [])


def _frame(video: Video, number: int) -> ImageResult:
    return ImageResult(video.source, Image(video.source, PIXELS, FrameInfo(video, number, 0.0)), [POSE], [])


def test_each_image_has_a_row_and_each_video_one_for_all_of_its_frames(capsys: pytest.CaptureFixture[str]):
    tally = Tally()
    for result in (
        _image(0, people=0),
        *(_frame(Video("a.mp4", Size(4, 4), None, None, False), n) for n in range(3)),
    ):
        tally.count(result)
    tally.count(ImageResult("a.mp4", None, [], ["cut short"]))
    tally.count(ImageResult("b.jpg", None, [], ["no image"]))

    tally.show()

    printed = " ".join(capsys.readouterr().out.split())
    assert "│ 0.jpg │ 0 │ - │" in printed
    assert "│ a.mp4 │ 3 in 3 frames │ 0.75 │" in printed
    assert "│ b.jpg │ not read │ - │" in printed
    assert "5 images, 3 people in " in printed
    assert printed.count("a.mp4") == 1
    assert printed.endswith("2 images with problems")


def test_names_of_files_neither_break_rows_nor_steer_the_terminal(capsys: pytest.CaptureFixture[str]):
    tally = Tally()
    tally.count(ImageResult("a\nb\x1b[31m\u202egpj[red].jpg", None, [], ["no image"]))

    tally.show()

    assert r"│ a\nb\x1b[31m\u202egpj[red].jpg │" in capsys.readouterr().out


def test_after_twenty_rows_the_others_are_counted(capsys: pytest.CaptureFixture[str]):
    tally = Tally()
    for number in range(25):
        tally.count(_image(number))

    tally.show()

    printed = capsys.readouterr().out
    assert "19.jpg" in printed
    assert "20.jpg" not in printed
    assert "... and 5 more" in printed


def test_a_terminal_shows_images_rates_and_that_ctrl_c_was_heard(monkeypatch: pytest.MonkeyPatch):
    screen = io.StringIO()
    terminal = partial(Console, file=screen, force_terminal=True, width=120)
    monkeypatch.setattr("mspn.cli.progress.SafeConsole", lambda stderr: terminal())

    with stop_requests() as stop, show_progress(4, stop) as advance:
        for number in range(3):
            advance(_image(number, people=2))
        stop.signal_number = 2

    assert "3/4" in screen.getvalue()
    assert "finishing; Ctrl-C again ends at once" in screen.getvalue()


def test_without_a_terminal_a_line_appears_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    now = [0.0]
    monkeypatch.setattr("mspn.cli.progress.time.monotonic", lambda: now[0])

    with stop_requests() as stop, show_progress(40, stop) as advance, show_count() as count:
        for now[0] in (4.0, 10.0, 15.0, 19.0):
            advance(_image(0, people=3))
        now[0] = 20.0
        count(7, 9)
        advance(_image(0, people=3))

    assert capsys.readouterr().err.splitlines() == [
        "predicting: 2 of 40 images, 0.2 images/s, 0.6 people/s, about 3 min left",  # 38 at 5 s each
        "estimating: 7 of 9 images",
        "predicting: 5 of 40 images, 0.2 images/s, 0.8 people/s, about 2 min left",  # 35 at 4 s each
    ]
