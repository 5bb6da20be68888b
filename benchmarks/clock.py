"""Counting the time that some calls take."""

import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Clock:
    """Adds up the time during which at least one of some calls runs, whatever the threads.

    The time is that of a clock of one's choice, such as `time.perf_counter`.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._running = 0
        self._since = 0.0
        self.seconds = 0.0

    def time(self, function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        """The same function, timed."""

        def timed(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
            self._count(+1)
            try:
                return function(*arguments, **options)
            finally:
                self._count(-1)

        return timed

    def _count(self, change: int) -> None:
        with self._lock:
            now = self._now()
            if self._running:
                self.seconds += now - self._since
            self._since = now
            self._running += change
