"""Processes that load data: arrays that they share, and worker processes of data loaders."""

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mspn.distributed import Processes
from mspn.errors import FileError, MspnError, reason
from mspn.interrupts import STOP_SIGNALS

_Batch = TypeVar("_Batch")


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


def start_workers(loader: DataLoader[_Batch]) -> Iterator[_Batch]:
    """The batches of a loader, whose worker processes are started.

    Raises:
        FileError: if they cannot be started, for want of shared memory.
    """
    try:
        return iter(loader)
    except OSError as error:
        raise FileError(
            f"cannot start the processes that read images ({reason(error)}); is there room in /dev/shm? lower"
            " data.workers, 0 needs none"
        ) from error


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


class SharedArrays:
    """A dataclass whose arrays are shared between processes, not copied.

    A forked process writes a reference count into every Python object it reads, which copies the pages of a list; an
    array is one object. Spawned processes get pickled data: torch puts tensors into shared memory once, while NumPy
    arrays would be copied for each process.
    """

    @cached_property
    def _parts(self) -> list[Any]:
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]  # a dataclass is
        return [torch.from_numpy(value) if isinstance(value, np.ndarray) else value for value in values]

    def __reduce__(self) -> tuple[Any, ...]:
        return _assemble, (type(self), self._parts)


_Arrays = TypeVar("_Arrays", bound=SharedArrays)


def read_by_first(processes: Processes, read: Callable[[], list[_Arrays]]) -> list[_Arrays]:
    """What the first process reads; the others receive its arrays, without the far larger file.

    Raises:
        MspnError: in every process, what reading raises in the first one.
    """
    if processes.count == 1:
        return read()
    items: list[_Arrays] = []
    problem: MspnError | None = None
    if processes.is_first:
        try:
            items = read()
        except MspnError as error:
            problem = error
    sent = [(problem, [_outline(item) for item in items])] if processes.is_first else []
    problem, outlines = processes.gather(sent)[0]
    if problem is not None:
        raise problem
    return [
        _receive(outline, items[index] if processes.is_first else None, processes)
        for index, outline in enumerate(outlines)
    ]


@dataclass(frozen=True)
class _ArrayOutline:
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _DataclassOutline:
    kind: type[SharedArrays]
    parts: list[Any]


def _outline(value: Any) -> Any:
    """The value, or what is known of it without the numbers of its arrays."""
    if isinstance(value, np.ndarray):
        return _ArrayOutline(value.dtype.str, value.shape)
    if isinstance(value, SharedArrays):
        parts = [_outline(getattr(value, field.name)) for field in fields(value)]  # type: ignore[arg-type]  # a dataclass is
        return _DataclassOutline(type(value), parts)
    return value


def _receive(outline: Any, value: Any, processes: Processes) -> Any:
    """The first process's value; None stands for it in the others."""
    if isinstance(outline, _ArrayOutline):
        array = np.empty(outline.shape, outline.dtype) if value is None else np.ascontiguousarray(value)
        processes.copy_from_first(torch.from_numpy(array.reshape(-1).view(np.uint8)))
        return array
    if isinstance(outline, _DataclassOutline):
        names = [field.name for field in fields(outline.kind)]  # type: ignore[arg-type]  # as above
        return outline.kind(
            *(
                _receive(part, None if value is None else getattr(value, name), processes)
                for name, part in zip(names, outline.parts, strict=True)
            )
        )
    return outline


def _assemble(kind: type[SharedArrays], parts: Sequence[Any]) -> SharedArrays:
    return kind(*(part.numpy() if isinstance(part, Tensor) else part for part in parts))
