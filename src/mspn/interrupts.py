"""Ctrl-C, SIGTERM and SIGHUP as a request to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATION_SIGNALS = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""Of schedulers, and of a terminal that is closed, which Windows does not have."""
STOP_SIGNALS = (signal.SIGINT, *TERMINATION_SIGNALS)


class StopRequest:
    """Set when one of `STOP_SIGNALS` arrives."""

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
    """Record Ctrl-C and other requests to stop instead of ending at once; SIGHUP stays ignored under nohup.

    Args:
        raise_on_second: raise KeyboardInterrupt at the second signal, which is ignored otherwise: torchrun forwards a
            signal that the terminal has sent already.
    """
    request = StopRequest(raise_on_second=raise_on_second)
    # Python lets only the main thread handle signals.
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS if not _is_ignored_hangup(number)}
    for number in before:
        signal.signal(number, request._handle)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_cleanly_when_terminated() -> None:
    """Let SIGTERM and SIGHUP end the process as an exception does, so that temporary files are removed."""
    for number in TERMINATION_SIGNALS:
        if not _is_ignored_hangup(number):
            signal.signal(number, _exit)


def _exit(signal_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)


def _is_ignored_hangup(number: int) -> bool:
    """Whether this is SIGHUP and was ignored from the start, as nohup has it."""
    return number not in (signal.SIGINT, signal.SIGTERM) and signal.getsignal(number) == signal.SIG_IGN
