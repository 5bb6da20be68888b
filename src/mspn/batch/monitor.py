"""What the actors of a run are doing: they tell a monitor, which the run asks."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:  # the process of a monitor has no use for torch
    from mspn.predict.pipeline import ImageResult

_SECONDS_BETWEEN_REPORTS = 1.0
_SECONDS_TO_FORGET = 30.0
"""After which an actor that says nothing is taken for ended."""
_SECONDS_TO_ANSWER = 5.0
SECONDS_TO_STALL = 60.0
_MAX_PROBLEMS = 20
"""Of a report, and of what the monitor keeps; all are in the results."""


@dataclass
class Report:
    """What an actor has done since its last report, and what it is doing."""

    actor: str
    """Where it runs."""
    reading: str | None = None
    """The file that it has opened last; None between tasks."""
    num_images: int = 0
    num_people: int = 0
    num_with_problems: int = 0
    problems: list[str] = field(default_factory=list)
    core_seconds: float = 0.0
    """Processor time that it has taken."""


@dataclass
class Activity:
    """What an actor is doing."""

    reading: str | None
    seconds: float
    """Since it began with that."""


@dataclass
class Progress:
    """What all actors have done, also of tasks that were lost and are done again."""

    num_images: int = 0
    num_people: int = 0
    num_with_problems: int = 0
    problems: list[str] = field(default_factory=list)
    """The first ones."""
    actors: dict[str, Activity] = field(default_factory=dict)
    """By where they run; those that have ended are left out."""
    seconds: float = 0.0
    """Since the first actor had loaded the networks."""
    core_seconds: float = 0.0
    """Processor time of all actors since they had."""


class Monitor:
    """Adds up the reports of actors; an actor of its own, which needs no core."""

    def __init__(self) -> None:
        self._progress = Progress()
        self._reading: dict[str, tuple[str | None, float]] = {}
        self._heard: dict[str, float] = {}
        self._start: float | None = None

    def add(self, report: Report) -> None:
        """Take a report."""
        progress = self._progress
        self._start = self._start or time.monotonic()
        progress.num_images += report.num_images
        progress.num_people += report.num_people
        progress.num_with_problems += report.num_with_problems
        progress.core_seconds += report.core_seconds
        progress.problems += report.problems[: _MAX_PROBLEMS - len(progress.problems)]
        now = self._heard[report.actor] = time.monotonic()
        before = self._reading.get(report.actor)
        if before is None or before[0] != report.reading or report.num_images:
            self._reading[report.actor] = report.reading, now

    def progress(self) -> Progress:
        """All that was reported so far."""
        now = time.monotonic()
        self._progress.seconds = now - (self._start or now)
        self._progress.actors = {
            actor: Activity(reading, now - since)
            for actor, (reading, since) in self._reading.items()
            if now - self._heard[actor] < _SECONDS_TO_FORGET
        }
        return self._progress


class Reporter:
    """Tells a monitor what this actor does, from a thread of its own, so that it is heard while a file takes long.

    Attributes:
        actor: where it runs.
    """

    def __init__(self, monitor: Any) -> None:
        """Say that the networks are loaded, and begin to report.

        Args:
            monitor: handle of the actor that runs a `Monitor`.
        """
        self._monitor = monitor
        self._lock = threading.Lock()
        self.actor = f"{socket.gethostname()}, process {os.getpid()}"
        self._report = Report(self.actor)
        self._core_seconds = time.process_time()
        self.send()
        threading.Thread(target=self._send_regularly, name="mspn-reporter", daemon=True).start()

    def begin_file(self, name: str) -> None:
        """Say which file is opened."""
        with self._lock:
            self._report.reading = name

    def end_task(self) -> None:
        """Say that all files of a task are done."""
        with self._lock:
            self._report.reading = None
        self.send()

    def count(self, result: "ImageResult") -> None:
        """Count an image."""
        with self._lock:
            report = self._report
            report.num_images += 1
            report.num_people += len(result.poses)
            report.num_with_problems += bool(result.problems)
            report.problems += result.problems[: _MAX_PROBLEMS - len(report.problems)]

    def send(self) -> None:
        """Tell the monitor what is new."""
        with self._lock:
            report, self._report = self._report, Report(self.actor, self._report.reading)
            now = time.process_time()
            report.core_seconds, self._core_seconds = now - self._core_seconds, now
        self._monitor.add.remote(report)

    def _send_regularly(self) -> None:
        while True:
            time.sleep(_SECONDS_BETWEEN_REPORTS)
            self.send()


@contextmanager
def started_monitor() -> Iterator[Any]:
    """The handle of a monitor on this node, which starts anew where it is killed, and ends with the block."""
    node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    monitor = ray.remote(num_cpus=0, max_restarts=-1)(Monitor).options(scheduling_strategy=node).remote()
    try:
        yield monitor
    finally:
        ray.kill(monitor)


@contextmanager
def watched(
    monitor: Any,
    show: Callable[[Progress], None],
    warn: Callable[[str], None],
    describe_room: Callable[[], str],
) -> Iterator[None]:
    """Show what actors do, once a second, and say what a run waits for that has done nothing for a minute.

    Args:
        monitor: handle of the actor that runs a `Monitor`.
        show: called with what is done so far, in another thread.
        warn: called with a line, in that thread.
        describe_room: says what Ray has free.
    """
    is_over = threading.Event()
    thread = threading.Thread(target=_watch, args=(monitor, show, warn, describe_room, is_over), name="mspn-watch")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _watch(
    monitor: Any,
    show: Callable[[Progress], None],
    warn: Callable[[str], None],
    describe_room: Callable[[], str],
    is_over: threading.Event,
) -> None:
    num_images, since = 0, time.monotonic()
    is_last = False
    while not is_last:
        is_last = is_over.wait(_SECONDS_BETWEEN_REPORTS)
        try:
            progress: Progress = ray.get(monitor.progress.remote(), timeout=_SECONDS_TO_ANSWER)
        except ray.exceptions.RayError:
            continue  # it starts anew, or Ray ends
        if progress.num_images != num_images:
            num_images, since = progress.num_images, time.monotonic()
        elif time.monotonic() - since >= SECONDS_TO_STALL:
            warn(f"no image was done for {time.monotonic() - since:.0f} s: {explain_stall(progress, describe_room())}")
            since = time.monotonic()
        show(progress)


def explain_stall(progress: Progress, room: str) -> str:
    """Why nothing is done, as far as actors and free resources tell.

    Args:
        progress: what actors do.
        room: what Ray has free.
    """
    if not progress.actors:
        return f"no actor has started yet, and {room}"
    busy = {name: activity for name, activity in progress.actors.items() if activity.reading is not None}
    if busy:
        name, activity = max(busy.items(), key=lambda item: item[1].seconds)
        work = f"{len(busy)} of {len(progress.actors)} actors work"
        return f"{work}; {name} has been at {activity.reading} for {activity.seconds:.0f} s"
    return f"actors wait for files, or for their rows to be written, and {room}"
