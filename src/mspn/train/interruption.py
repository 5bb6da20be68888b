"""Stopping when someone asks: Ctrl-C and SIGTERM."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TrainingStoppedError(Exception):
    """Training ended early because someone asked; a checkpoint was written."""

    def __init__(self, iteration: int, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after iteration {iteration}")
        self.iteration = iteration
        self.signal_number = signal_number


class StopRequest:
    """Whether someone has asked to stop, and how."""

    def __init__(self) -> None:
        self.signal_number = 0
        """0: nobody has."""

    def _note(self, signal_number: int, _frame: FrameType | None) -> None:
        self.signal_number = signal_number


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note Ctrl-C and SIGTERM instead of ending at once; asking again changes nothing.

    torchrun passes a signal on that the terminal has already sent, so a second one is no sign of impatience. Whoever
    cannot wait may kill the process: the last checkpoint stays usable.
    """
    request = StopRequest()
    # Python lets only the main thread handle signals.
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
