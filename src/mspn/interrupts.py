"""Ctrl-C and SIGTERM as a request to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Set when SIGINT or SIGTERM arrives."""

    def __init__(self, *, raise_on_second: bool) -> None:
        self.signal_number = 0
        """0 until then."""
        self._raise_on_second = raise_on_second

    def _handle(self, signal_number: int, _frame: FrameType | None) -> None:
        if self.signal_number and self._raise_on_second:
            raise KeyboardInterrupt
        self.signal_number = signal_number


@contextmanager
def stop_requests(*, raise_on_second: bool = False) -> Iterator[StopRequest]:
    """Record Ctrl-C and SIGTERM instead of ending at once.

    Args:
        raise_on_second: raise KeyboardInterrupt at the second signal, which is ignored otherwise: torchrun forwards a
            signal that the terminal has sent already.
    """
    request = StopRequest(raise_on_second=raise_on_second)
    # Python lets only the main thread handle signals.
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
