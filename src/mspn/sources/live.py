"""Live sources, cameras and network streams: the newest frame wins, and a lost connection is opened again.

A network camera is connected to at an address that was checked, and leads nowhere else. FFmpeg looks hosts up by
itself and follows redirects. So it talks to a relay on this machine, which has connected to what was checked, and
hangs up at a redirect.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Condition, Event, Thread
from urllib.parse import urlsplit

import cv2
import numpy as np

from mspn.errors import SourceError, reason
from mspn.io.limits import ANY_NETWORK, InputLimits, connect, without_password
from mspn.sources.video import check_frame_size, load_pyav, to_rgb
from mspn.structures.boxes import Size
from mspn.structures.image import FrameInfo, Image, Video
from mspn.structures.shapes import UInt8

Frame = Callable[[], UInt8[np.ndarray, "H W 3"]]
"""Decodes a frame to RGB pixels; called only for frames that are taken."""
Connect = Callable[[], Iterator[Frame]]
"""Connects, and gives frames as they come; ends or raises SourceError when the connection does."""

_STOP_SECONDS = 2.0


def watch(name: str, connect: Connect, settings: InputLimits) -> Iterator[Image]:
    """The newest image of a live source, again and again, each at most once.

    Time stamps are of the arrival, from that of the first frame on. A connection that ends is made anew as often as
    the settings say; one that never gave a frame is not.

    Raises:
        SourceError: when the source is at its end, or cannot be had.
    """
    reader = _Reader(name, connect, settings)
    thread = Thread(target=reader.run, name=f"reader of {name}", daemon=True)
    thread.start()
    video = None
    taken = 0
    try:
        while True:
            arrival = reader.take()
            pixels = arrival.frame()
            video = video or Video(name, Size(*pixels.shape[:2]), frame_rate=None, num_frames=None, is_live=True)
            num_dropped = arrival.number - taken
            taken += 1
            yield Image(name, pixels, FrameInfo(video, arrival.number, arrival.seconds, num_dropped))
    finally:
        reader.stopping.set()
        thread.join(_STOP_SECONDS)


@dataclass(frozen=True)
class _Arrival:
    frame: Frame
    number: int
    seconds: float


class _Reader:
    """The background thread of a live source, and its newest frame."""

    def __init__(self, name: str, connect: Connect, settings: InputLimits) -> None:
        self.name = name
        self.connect = connect
        self.settings = settings
        self.stopping = Event()
        self._changed = Condition()
        self._newest: _Arrival | None = None
        self._problem: Exception | None = None

    def take(self) -> _Arrival:
        """Wait for a new frame; raises the error that ended the source."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._problem is not None)
            if self._newest is None:
                assert self._problem is not None
                raise self._problem
            newest, self._newest = self._newest, None
            return newest

    def run(self) -> None:
        try:
            self._read_until_end()
        except Exception as error:  # raised in the thread that takes frames
            self._offer(problem=error)

    def _read_until_end(self) -> None:
        first_arrival: float | None = None
        number, failures = 0, 0
        while True:
            try:
                for frame in self.connect():
                    arrival = time.monotonic()
                    first_arrival = arrival if first_arrival is None else first_arrival
                    self._offer(_Arrival(frame, number, arrival - first_arrival))
                    number, failures = number + 1, 0
                    if self.stopping.is_set():
                        return
                problem = SourceError(f"{self.name} has ended")
            except SourceError as error:
                problem = error
            failures += 1
            if not number or failures > self.settings.reconnections:
                after = f"; {number} frames came" if number else ""
                raise SourceError(f"{problem}{after}") from problem
            if self.stopping.wait(self.settings.reconnection_seconds):
                return

    def _offer(self, arrival: _Arrival | None = None, problem: Exception | None = None) -> None:
        with self._changed:
            self._newest = arrival or self._newest
            self._problem = problem
            self._changed.notify()


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
_OPTIONS = {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,rtp,tcp"}


def watch_stream(address: str, settings: InputLimits) -> Iterator[Image]:
    """The newest image of a stream, again and again; see `watch`.

    Results and errors name it without user name and password.

    Raises:
        SourceError: if PyAV is not installed, the host may not be asked, or the stream cannot be had or has ended.
    """
    return watch(without_password(address), partial(_stream_frames, address, settings), settings)


def _stream_frames(address: str, settings: InputLimits) -> Iterator[Frame]:
    name = without_password(address)
    av = load_pyav(name)
    with connected_camera(address, settings) as relay:
        try:
            with av.open(relay.address, options=_OPTIONS, timeout=settings.wait_seconds) as container:
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
            if relay.was_redirected:
                raise SourceError(
                    f"{name} redirects elsewhere, where nothing is asked; give the last address"
                ) from error
            raise SourceError(f"{name} broke off ({reason(error)}); check address and network") from error


_PORTS = {"rtsp": 554, "rtsps": 322}
_BYTES_AT_ONCE = 2**16
_REDIRECT = b"location:"
"""The header that names another address. Content-Location counts too: what comes before may be of a packet of images,
which FFmpeg skips."""


@dataclass
class Relay:
    """A connection to a camera."""

    address: str
    """On this machine, with the user name and password of the camera's."""
    was_redirected: bool = False
    """Whether the camera has tried to lead elsewhere, and was hung up on."""


@contextmanager
def connected_camera(address: str, limits: InputLimits) -> Iterator[Relay]:
    """Connect to an rtsp or rtsps address, whose host is public, allowed, or in an address that the user wrote.

    Certificates are not checked: cameras sign their own.

    Raises:
        SourceError: if the host may not be asked, or cannot be reached.
    """
    name = without_password(address)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme.lower()]
    except ValueError as error:
        raise SourceError(f"{name} is no address ({error}); write rtsp://host/path") from error
    if not host:
        raise SourceError(f"{name} is no address (it has no host); write rtsp://host/path")
    networks = ANY_NETWORK if address in limits.own_addresses else limits.allowed_networks
    with ExitStack() as stack:
        try:
            camera = stack.enter_context(connect(host, port, networks, limits.wait_seconds))
            if parts.scheme.lower() == "rtsps":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                camera = stack.enter_context(context.wrap_socket(camera, server_hostname=host))
        except SourceError as error:
            raise SourceError(f"{name}: {error}") from error
        except (OSError, UnicodeError) as error:
            raise SourceError(f"{name} cannot be reached ({reason(error)}); check address and network") from error
        camera.settimeout(None)  # FFmpeg waits no longer than it was told to
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        credentials, at, _host = parts.netloc.rpartition("@")
        local = f"{credentials}{at}127.0.0.1:{listener.getsockname()[1]}"
        relay = Relay(parts._replace(scheme="rtsp", netloc=local).geturl())
        stack.callback(_hang_up, camera, listener)
        Thread(target=_serve, args=(listener, camera, relay), name=f"relay of {name}", daemon=True).start()
        yield relay


def _serve(listener: socket.socket, camera: socket.socket, relay: Relay) -> None:
    with suppress(OSError):  # nobody connects any more
        player = listener.accept()[0]
        with closing(player):
            asking = Thread(target=_pass_on, args=(player, camera, None), daemon=True)
            asking.start()
            _pass_on(camera, player, relay)
            asking.join()


def _pass_on(source: socket.socket, sink: socket.socket, relay: Relay | None) -> None:
    """Pass bytes on until either end hangs up; if a relay is given, until they lead elsewhere."""
    before = b""
    with suppress(OSError, ValueError):
        while data := source.recv(_BYTES_AT_ONCE):
            if relay is not None:
                # FFmpeg reads over \r, even within a word.
                seen = before + data.lower().replace(b"\r", b"")
                if _REDIRECT in seen:
                    relay.was_redirected = True
                    break
                before = seen[1 - len(_REDIRECT) :]
            sink.sendall(data)
    _hang_up(source, sink)


def _hang_up(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):  # it is at its end already
            connection.shutdown(socket.SHUT_RDWR)
