"""Pipeline stages in background threads, each with a bounded buffer of results."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

_JOIN_SECONDS = 5.0
"""Seconds to wait for a stage thread on exit; daemon threads are abandoned afterwards."""
_POLL_SECONDS = 0.2
"""Interval at which a waiting stage checks whether the work is over."""


class _StoppedError(Exception):
    """Ends a stage thread after the `with` block is left."""


class _Buffer(Generic[Item]):
    """Results of one stage that the next has not taken yet."""

    def __init__(self) -> None:
        self.items: deque[tuple[Item, float]] = deque()
        self.fill_level = 0.0
        """Sum of the items' shares."""
        self.is_last = False
        """Whether the stage has ended."""
        self.error: BaseException | None = None
        """What ended the stage early, to be raised after its items."""


class Workers:
    """Threads that run calls in the order in which they come; as of stages, one that hangs is abandoned in the end."""

    def __init__(self, count: int, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[[], Item]) -> "Future[Item]":
        """Have a call run in the background; the future has its result, or what it raised."""
        future: Future[Item] = Future()
        self._calls.put((future, call))
        return future

    def close(self) -> None:
        """Cancel the calls that have not begun, and end the threads."""
        with suppress(Empty):
            while True:
                waiting = self._calls.get_nowait()
                if waiting is not None:
                    waiting[0].cancel()
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while (waiting := self._calls.get()) is not None:
            future, call = waiting
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # whoever asks for the result raises it
                    future.set_exception(error)


class Stages:
    """Generators one after another; leaving the `with` block stops all of them.

    Threads rather than processes, since decoding, networks and encoding release the GIL, and images are not copied.

    >>> with Stages() as stages:
    ...     decoded = stages.run_ahead(decode(paths), share)
    ...     yield from stages.run_ahead(detect(decoded), share)
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_stopped = False
        self._threads: list[threading.Thread] = []

    def run_ahead(
        self, items: Iterable[Item], share: Callable[[Item], float], is_over: Callable[[], bool] = lambda: False
    ) -> Iterator[Item]:
        """Iterate in a background thread, ahead of the consumer as far as the buffer allows.

        Errors of the thread are raised in the consumer, after the items before them.

        Args:
            items: iterated, and closed if it is a generator, in the background thread.
            share: of the buffer that an item takes; 1 fills it, and one item always fits.
            is_over: once it returns True, only items in the buffer are still given.
        """
        buffer: _Buffer[Item] = _Buffer()
        thread = threading.Thread(target=self._fill, args=(buffer, items, share, is_over), name="mspn-stage")
        thread.daemon = True
        self._threads.append(thread)
        thread.start()
        return self._take_all(buffer, is_over)

    def __enter__(self) -> "Stages":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _fill(
        self,
        buffer: _Buffer[Item],
        items: Iterable[Item],
        share: Callable[[Item], float],
        is_over: Callable[[], bool],
    ) -> None:
        try:
            try:
                for item in items:
                    if is_over():
                        break
                    self._put(buffer, item, share(item))
            finally:
                if isinstance(items, Generator):
                    items.close()
        except _StoppedError:
            return
        except BaseException as error:  # KeyboardInterrupt too: the consumer raises it
            buffer.error = error
        with self._changed:
            buffer.is_last = True
            self._changed.notify_all()

    def _put(self, buffer: _Buffer[Item], item: Item, share: float) -> None:
        with self._changed:
            self._wait(lambda: not buffer.items or buffer.fill_level + share <= 1)
            buffer.items.append((item, share))
            buffer.fill_level += share
            self._changed.notify_all()

    def _take_all(self, buffer: _Buffer[Item], is_over: Callable[[], bool]) -> Generator[Item, None, None]:
        while True:
            with self._changed:
                self._wait(lambda: buffer.items or buffer.is_last or is_over())
                if not buffer.items:
                    break
                item, share = buffer.items.popleft()
                buffer.fill_level -= share
                self._changed.notify_all()
            yield item
            del item  # frees it before waiting for the next
        if buffer.error is not None:
            raise buffer.error

    def _wait(self, predicate: Callable[[], Any]) -> None:
        while not self._changed.wait_for(lambda: self._is_stopped or predicate(), _POLL_SECONDS):
            pass
        if self._is_stopped:
            raise _StoppedError
