"""Worker processes of data loaders."""

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import cv2
import torch

from mspn.interrupts import STOP_SIGNALS


def prepare_worker(_worker: int) -> None:
    """Set up a worker process of a data loader: one thread, no signals, and an end with the main process.

    Thread pools in workers would compete with the network for cores. Ctrl-C and schedulers (Slurm, systemd) signal
    whole process groups or all processes of a job; only the main process reacts, so workers leave its group and ignore
    signals. If the main process ends or is killed, the worker exits.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Inherited objects live as long as the worker, and garbage collection would copy their memory pages.
    gc.freeze()
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_main_process, daemon=True).start()


@contextmanager
def workers_killed_on_failure() -> Iterator[None]:
    """Kill the processes that have been started within, if an error ends it.

    Where one of several workers was killed, it may hold a lock that the others wait for; Python would wait for them.
    """
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for worker in set(multiprocessing.active_children()) - before:
            with suppress(RuntimeError):  # by which torch tells that a worker was killed
                worker.kill()
                worker.join()
        raise


def _end_with_main_process() -> None:
    main = multiprocessing.parent_process()
    assert main is not None
    main.join()
    # A normal exit would block until the queue is read.
    os._exit(1)
