"""Stages of work that overlap: each runs in a thread of its own, a bounded way ahead of the next."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

_PATIENCE_SECONDS = 5.0
"""A stage that waits for something outside of the program, such as a camera, is left behind after this time."""
_POLL_SECONDS = 0.2
"""How often whoever waits for an item asks whether the work is over."""


def never() -> bool:
    return False


class _StoppedError(Exception):
    """Ends the stages when nobody wants their results any more."""


class _Room(Generic[Item]):
    """What one stage has done and the next has not taken yet."""

    def __init__(self) -> None:
        self.items: deque[tuple[Item, float]] = deque()
        self.taken_up = 0.0
        """Sum of the items' shares."""
        self.is_last = False
        """Whether no item will follow."""
        self.error: BaseException | None = None
        """What ended the stage early, to be raised after its items."""


class Stages:
    """Generators one after another; leaving the `with` block stops all of them, whatever they wait for.

    Threads rather than processes: decoding, networks and encoding let go of Python's lock, and images need not be
    copied.

    >>> with Stages() as stages:
    ...     decoded = stages.run_ahead(decode(paths), share)
    ...     yield from stages.run_ahead(find_people(decoded), share)
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_stopped = False
        self._threads: list[threading.Thread] = []

    def run_ahead(
        self, items: Iterable[Item], share: Callable[[Item], float], is_over: Callable[[], bool] = never
    ) -> Iterator[Item]:
        """Iterate in a thread of its own, as far ahead of whoever takes the items as there is room.

        What is raised there is raised where the items are taken, after those that came before.

        Args:
            items: iterated, and closed if it is a generator, in the other thread.
            share: of the room that an item takes up; 1 fills it, and one item always fits.
            is_over: once it is so, only the items that are there already are given, and no other is waited for.
        """
        room: _Room[Item] = _Room()
        thread = threading.Thread(target=self._fill, args=(room, items, share, is_over), name="mspn-stage", daemon=True)
        self._threads.append(thread)
        thread.start()
        return self._take_all(room, is_over)

    def __enter__(self) -> "Stages":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_PATIENCE_SECONDS)

    def _fill(
        self,
        room: _Room[Item],
        items: Iterable[Item],
        share: Callable[[Item], float],
        is_over: Callable[[], bool],
    ) -> None:
        try:
            try:
                for item in items:
                    if is_over():
                        break
                    self._put(room, item, share(item))
            finally:
                if isinstance(items, Generator):
                    items.close()
        except _StoppedError:
            return
        except BaseException as error:  # also of the kinds that end a program: the caller's thread shall end it
            room.error = error
        with self._changed:
            room.is_last = True
            self._changed.notify_all()

    def _put(self, room: _Room[Item], item: Item, share: float) -> None:
        with self._changed:
            self._wait(lambda: not room.items or room.taken_up + share <= 1)
            room.items.append((item, share))
            room.taken_up += share
            self._changed.notify_all()

    def _take_all(self, room: _Room[Item], is_over: Callable[[], bool]) -> Generator[Item, None, None]:
        while True:
            with self._changed:
                self._wait(lambda: room.items or room.is_last or is_over())
                if not room.items:
                    break
                item, share = room.items.popleft()
                room.taken_up -= share
                self._changed.notify_all()
            yield item
            del item  # so that nobody holds it while waiting for the next
        if room.error is not None:
            raise room.error

    def _wait(self, predicate: Callable[[], Any]) -> None:
        while not self._changed.wait_for(lambda: self._is_stopped or predicate(), _POLL_SECONDS):
            pass
        if self._is_stopped:
            raise _StoppedError
