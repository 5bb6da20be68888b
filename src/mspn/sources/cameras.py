"""Cameras of this computer, by number."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.picture import Picture
from mspn.sources.live import Frame, watch
from mspn.sources.problems import SourceError
from mspn.sources.settings import SourceSettings

_SILENT = 0


def watch_camera(number: int, settings: SourceSettings) -> Iterator[Picture]:
    """The newest picture of a camera, again and again; see `watch`.

    Raises:
        SourceError: if there is none, or it is unplugged.
    """
    return watch(str(number), partial(_frames, number), settings)


def _frames(number: int) -> Iterator[Frame]:
    with _quiet():
        camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise SourceError(f"no camera {number} can be opened; is it plugged in, allowed, and not in use?")
        while True:
            is_there, pixels = camera.read()
            if not is_there:
                raise SourceError(f"camera {number} gives no more pictures; is it still plugged in?")
            yield partial(_to_rgb, pixels)
    finally:
        camera.release()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV from adding lines of its own to ours."""
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 has it elsewhere than 4
    level = logging.getLogLevel()
    logging.setLogLevel(_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _to_rgb(pixels: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
