import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from mspn.predict import stages
from mspn.predict.stages import Stages, Workers


def _stage_threads() -> int:
    return sum(thread.name == "mspn-stage" for thread in threading.enumerate())


def _everything(_item: int) -> float:
    return 1.0


def test_items_come_in_order_through_several_stages():
    with Stages() as stages:
        doubled = stages.run_ahead((2 * item for item in stages.run_ahead(range(50), _everything)), lambda _: 0.1)

        assert list(doubled) == list(range(0, 100, 2))
    assert _stage_threads() == 0


def test_a_stage_runs_ahead_as_far_as_there_is_room():
    made: list[int] = []

    def make() -> Iterator[int]:
        for item in range(100):
            made.append(item)
            yield item

    with Stages() as stages:
        # A quarter of the room each: four items wait, and a fifth is made and finds no room.
        items = stages.run_ahead(make(), lambda _item: 0.25)
        _wait_until(lambda: len(made) == 5)
        time.sleep(0.05)
        assert len(made) == 5

        next(items)
        _wait_until(lambda: len(made) == 6)


def test_an_item_larger_than_the_room_fits_alone():
    with Stages() as stages:
        assert list(stages.run_ahead([1, 2, 3], lambda _item: 7.0)) == [1, 2, 3]


def test_once_the_work_is_over_nothing_more_is_waited_for():
    has_next, is_over = threading.Event(), threading.Event()

    def make() -> Iterator[int]:
        yield 1
        has_next.wait()
        yield 2

    with Stages() as stages:
        items = stages.run_ahead(make(), _everything, is_over.is_set)

        assert next(items) == 1
        is_over.set()
        assert list(items) == []
        has_next.set()
    assert _stage_threads() == 0


def test_an_error_in_a_thread_is_raised_where_the_items_are_taken_after_those_before_it():
    def fail() -> Iterator[int]:
        yield 1
        raise OSError("no room")

    with Stages() as stages:
        items = stages.run_ahead(fail(), _everything)

        assert next(items) == 1
        with pytest.raises(OSError, match="no room"):
            next(items)
    assert _stage_threads() == 0


def test_an_error_goes_through_the_stages_that_follow():
    def fail() -> Iterator[int]:
        raise ValueError("broken")
        yield 1

    with Stages() as stages, pytest.raises(ValueError, match="broken"):
        list(stages.run_ahead((item for item in stages.run_ahead(fail(), _everything)), _everything))


def test_leaving_stops_stages_that_wait_for_room_or_for_items_and_closes_generators():
    closed = threading.Event()
    release = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    def blocked() -> Iterator[int]:
        release.wait(0.2)
        yield 0

    started = time.monotonic()
    with Stages() as stages:
        next(stages.run_ahead(endless(), _everything))
        stages.run_ahead((item for item in stages.run_ahead(blocked(), _everything)), _everything)

    assert closed.is_set()
    assert _stage_threads() == 0
    assert time.monotonic() - started < 2


def test_workers_end_though_one_takes_the_last_call_while_they_are_closed(monkeypatch: pytest.MonkeyPatch):
    is_released, is_taken = threading.Event(), threading.Event()

    class Raced(SimpleQueue[Any]):
        def empty(self) -> bool:
            was_empty = super().empty()
            is_released.set()
            is_taken.wait(5)
            return was_empty

    monkeypatch.setattr(stages, "SimpleQueue", Raced)
    workers = Workers(1, "mspn-worker")
    first = workers.submit(is_released.wait)
    _wait_until(first.running)
    workers.submit(is_taken.set)
    closing = threading.Thread(target=workers.close, daemon=True)

    closing.start()
    threading.Timer(0.1, is_released.set).start()

    closing.join(5)
    assert not closing.is_alive()
    assert all(thread.name != "mspn-worker" for thread in threading.enumerate())


def test_calls_that_have_not_begun_are_canceled_when_workers_are_closed():
    is_released = threading.Event()
    workers = Workers(1, "mspn-worker")
    first = workers.submit(lambda: is_released.wait(5))
    _wait_until(first.running)
    waiting = [workers.submit(int), workers.submit(int)]

    threading.Timer(0.1, is_released.set).start()
    workers.close()

    assert first.result() is True
    assert [call.cancelled() for call in waiting] == [True, True]


def _wait_until(predicate: object) -> None:
    deadline = time.monotonic() + 5
    while not predicate():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.001)
