import threading
import time
from collections.abc import Iterator
from functools import partial
from threading import Event
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from mspn.errors import SourceError
from mspn.io.limits import InputLimits
from mspn.sources.live import Frame, watch, watch_camera
from mspn.structures.image import FrameInfo, Image

SETTINGS = InputLimits(reconnections=2, reconnection_seconds=0)


def pixels(number: int) -> np.ndarray:
    return np.full((2, 3, 3), number, np.uint8)


def frame(image: Image) -> FrameInfo:
    assert image.frame is not None
    return image.frame


def test_the_newest_frame_wins_and_the_dropped_are_counted():
    taken, given, over = Event(), Event(), Event()

    def connect() -> Iterator[Frame]:
        yield partial(pixels, 0)
        assert taken.wait(5)
        for number in range(1, 10):
            yield partial(pixels, number)
        given.set()
        assert over.wait(5)

    images = watch("camera", connect, SETTINGS)

    first = next(images)
    taken.set()
    assert given.wait(5)
    later = next(images)
    while frame(later).index < 9:  # the thread may not have kept the last one yet
        later = next(images)
    over.set()
    assert first.pixels.max() == 0
    assert frame(first).num_dropped == 0
    assert later.pixels.min() == frame(later).index
    assert frame(later).num_dropped > 0
    assert frame(later).seconds > frame(first).seconds == 0
    assert frame(first).video.is_live


def test_frames_that_nobody_takes_are_not_converted():
    converted = []

    def connect() -> Iterator[Frame]:
        for number in range(100):
            yield lambda number=number: converted.append(number) or pixels(number)

    with pytest.raises(SourceError):
        list(watch("camera", connect, SETTINGS.model_copy(update={"reconnections": 0})))

    assert 1 <= len(converted) < 100
    assert converted[-1] == 99


def test_a_source_that_breaks_is_connected_to_again():
    connections = []

    def connect() -> Iterator[Frame]:
        connections.append(len(connections))
        if len(connections) in (2, 4, 5, 6):
            raise SourceError("it is gone")
        yield partial(pixels, 0)

    with pytest.raises(SourceError, match="it is gone; 2 frames came"):
        for _ in watch("camera", connect, SETTINGS):
            pass

    # Frames came from the first and the third; then two more tries, both in vain.
    assert len(connections) == 5


def test_a_source_that_was_never_there_is_not_tried_again():
    connections = []

    def connect() -> Iterator[Frame]:
        connections.append(1)
        raise SourceError("nobody is there")
        yield

    with pytest.raises(SourceError, match=r"^nobody is there$"):
        next(watch("camera", connect, SETTINGS))
    assert len(connections) == 1


def test_our_own_mistakes_are_not_hidden_by_the_thread():
    def connect() -> Iterator[Frame]:
        yield partial(pixels, 0)
        raise AssertionError("ours")

    with pytest.raises(AssertionError, match="ours"):
        for _ in watch("camera", connect, SETTINGS):
            pass


class Camera:
    """Stands for `cv2.VideoCapture`: three frames, then it is unplugged."""

    opened: ClassVar[list["Camera"]] = []

    def __init__(self, number: int) -> None:
        self.is_there = number == 0
        self.frames_left = 3
        self.is_released = False
        self.opened.append(self)

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.is_there

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.01)
        self.frames_left -= 1
        return self.frames_left >= 0, np.full((2, 3, 3), (1, 2, 3), np.uint8)

    def release(self) -> None:
        self.is_released = True


@pytest.fixture(autouse=True)
def _cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Camera, "opened", [])
    monkeypatch.setattr(cv2, "VideoCapture", Camera)


def test_a_camera_gives_rgb_until_it_is_unplugged():
    images = watch_camera(0, SETTINGS.model_copy(update={"reconnections": 0}))

    first = next(images)

    assert first.source == "0"
    assert first.pixels[0, 0].tolist() == [3, 2, 1]
    with pytest.raises(SourceError, match="camera 0 gives no more images; is it still plugged in"):
        list(images)
    assert Camera.opened[0].is_released


def test_a_camera_is_released_when_nobody_wants_more():
    images = watch_camera(0, SETTINGS)
    next(images)

    images.close()

    assert all(camera.is_released for camera in Camera.opened)
    assert not any("reader of" in thread.name for thread in threading.enumerate())


def test_a_camera_that_is_not_there_is_a_clear_line():
    with pytest.raises(SourceError, match="no camera 7 can be opened; is it plugged in"):
        next(watch_camera(7, SETTINGS))
