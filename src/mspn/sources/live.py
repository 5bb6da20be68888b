"""Live sources: a background thread keeps the newest frame only."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Condition, Event, Thread

import numpy as np
from jaxtyping import UInt8

from mspn.errors import SourceError
from mspn.io.limits import InputLimits
from mspn.structures.boxes import Size
from mspn.structures.image import FrameInfo, Image, Video

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
