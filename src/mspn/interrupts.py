"""Ctrl-C and SIGTERM as a request to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether someone has asked to stop, and how."""

    def __init__(self, *, second_ends: bool) -> None:
        self.signal_number = 0
        """0: nobody has."""
        self._second_ends = second_ends

    def _note(self, signal_number: int, _frame: FrameType | None) -> None:
        if self.signal_number and self._second_ends:
            raise KeyboardInterrupt
        self.signal_number = signal_number


@contextmanager
def stop_requests(*, second_ends: bool = False) -> Iterator[StopRequest]:
    """Note Ctrl-C and SIGTERM instead of ending at once.

    Args:
        second_ends: raise KeyboardInterrupt when asked again, which else changes nothing. torchrun passes a signal on
            that the terminal has already sent, so with it a second one is no sign of impatience.
    """
    request = StopRequest(second_ends=second_ends)
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
