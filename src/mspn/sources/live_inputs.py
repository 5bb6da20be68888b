"""Cameras, and streams from the network."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.errors import SourceError, reason
from mspn.io.hosts import without_password
from mspn.io.limits import InputLimits
from mspn.sources.live import Frame, watch
from mspn.sources.video import check_frame_size, load_pyav, to_rgb
from mspn.structures.image import Image

_LOG_LEVEL_SILENT = 0


def watch_camera(number: int, settings: InputLimits) -> Iterator[Image]:
    """The newest image of a camera, again and again; see `watch`.

    Raises:
        SourceError: if there is none, or it is unplugged.
    """
    return watch(str(number), partial(_camera_frames, number), settings)


def _camera_frames(number: int) -> Iterator[Frame]:
    with _quiet():
        camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise SourceError(f"no camera {number} can be opened; is it plugged in, allowed, and not in use?")
        while True:
            is_there, pixels = camera.read()
            if not is_there:
                raise SourceError(f"camera {number} gives no more images; is it still plugged in?")
            yield partial(_to_rgb, pixels)
    finally:
        camera.release()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence OpenCV's own log."""
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 has it elsewhere than 4
    level = logging.getLogLevel()
    logging.setLogLevel(_LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _to_rgb(pixels: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


# TCP, since images of which packets are lost on the way are smeared, and firewalls let it through.
_OPTIONS = {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,rtp,tcp,tls"}


def watch_stream(address: str, settings: InputLimits) -> Iterator[Image]:
    """The newest image of a stream, again and again; see `watch`.

    Its host may be anywhere: network cameras are seldom on the public internet. Results and errors name it without
    user name and password.

    Raises:
        SourceError: if PyAV is not installed, or the stream cannot be had or has ended.
    """
    return watch(without_password(address), partial(_stream_frames, address, settings), settings)


def _stream_frames(address: str, settings: InputLimits) -> Iterator[Frame]:
    name = without_password(address)
    av = load_pyav(name)
    try:
        with av.open(address, options=_OPTIONS, timeout=settings.wait_seconds) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise SourceError(f"{name} has no images in it; is it the address of the sound?")
            for packet in container.demux(stream):
                frames = []
                with suppress(av.error.InvalidDataError):  # what came before the first whole image, or was lost
                    frames = packet.decode()
                for frame in frames:
                    check_frame_size(frame, name, settings.max_pixels)
                    yield partial(to_rgb, frame, None)
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(
            f"{name} cannot be reached, or broke off ({reason(error)}); check address and network"
        ) from error
