import multiprocessing
import signal
import time

import pytest

from mspn.datasets.workers import workers_killed_on_failure


def _wait_for_ever() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)


def test_workers_that_wait_for_ever_are_killed_if_an_error_ends_the_work_and_others_are_not():
    before, worker = (multiprocessing.get_context("fork").Process(target=_wait_for_ever) for _ in range(2))
    before.start()

    @workers_killed_on_failure()
    def fail() -> None:
        worker.start()
        raise OSError("a worker was killed")

    with pytest.raises(OSError, match="a worker was killed"):
        fail()

    assert worker.exitcode == -signal.SIGKILL
    assert before.is_alive()
    before.kill()
    before.join()
