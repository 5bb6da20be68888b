"""Ray: one of our own on this machine, or a cluster that is there; and errors of its tasks as ours."""

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray

from mspn.errors import InvalidValueError, MspnError, reason
from mspn.io.files import temporary_folder

_LOOPBACK = "127.0.0.1"
_STORE_BYTES = 256 * 2**20
"""Of the object store of this machine alone: it holds the estimator, names of files, and rows of tasks."""
_SHORT_PATH = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
"""Where Ray's sockets are, whose paths may have some hundred letters."""
_STARTS = 3
"""Tries to start Ray, whose processes wait for each other for some seconds only, however busy a machine is."""
CPUS_LEFT_BY_ACTOR, CPUS_PER_TASK = 0.1, 0.05
"""Of the CPUs that Ray counts: an actor asks for a little less than its cores, or tasks that read lists and write rows,
which wait more than they compute, would never find room."""
_CPUS_OF_FILTER = 1
"""Which Ray takes for leaving out what earlier runs have done."""


@dataclass(frozen=True)
class ActorSettings:
    """How many actors there are, and what each may use."""

    num_actors: int | None = None
    """None: as many as the cores, or GPUs, are enough for."""
    num_cpus: int = 1
    """Cores of each, which are its threads of torch, too."""
    num_gpus: float = 0.0
    """GPUs of each, or its share of one."""


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def connected(address: str | None, actors: ActorSettings, *, dashboard: bool = False) -> Iterator[int]:
    """Connect to a cluster, or start Ray on this machine and end it afterwards, whatever happens.

    Args:
        address: of a cluster, as `ray.init` takes it; None: this machine alone, reachable from nowhere else.
        actors: that there is to be room for.
        dashboard: start Ray's dashboard with it.

    Yields:
        How many actors there are to be.

    Raises:
        ValueError: if there is no such cluster, or it has no room for an actor.
    """
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Ray replaces what is done at SIGTERM.
    terminate = signal.getsignal(signal.SIGTERM)
    with temporary_folder(_SHORT_PATH / "mspn-ray") as folder:
        try:
            if address is None:
                num_actors = actors.num_actors or max(1, num_cores() // actors.num_cpus)
                _start(num_actors * actors.num_cpus + _CPUS_OF_FILTER, folder, dashboard=dashboard)
            else:
                _connect(address)
                num_actors = actors.num_actors or _count_actors(actors)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, terminate)
            yield num_actors
        finally:
            ray.shutdown()


_OWN_RAY = {
    # The command's own priority, as `mspn predict` has it; else other programs leave almost nothing to actors.
    "RAY_worker_niceness": "0",
    # Processes for tasks that may never come, each of which imports Ray.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
}
"""Settings of a Ray that is started here; what is set already stays."""


def _start(num_cpus: int, folder: Path, *, dashboard: bool) -> None:
    for name, value in _OWN_RAY.items():
        os.environ.setdefault(name, value)
    for tries_left in reversed(range(_STARTS)):
        try:
            ray.init(
                "local",
                num_cpus=num_cpus,
                object_store_memory=_STORE_BYTES,
                include_dashboard=dashboard,
                dashboard_host=_LOOPBACK,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=str(folder),
            )
        except Exception as error:  # of no kind of its own: a process of Ray's has not started in time
            ray.shutdown()
            if not tries_left:
                raise InvalidValueError(
                    f"Ray does not start on this machine ({reason(error)}); is it very busy, or short of memory?"
                ) from error
        else:
            return


def _connect(address: str) -> None:
    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, AssertionError) as error:
        raise InvalidValueError(
            f"no Ray cluster at {address} ({reason(error)}); start one with `ray start --head`, or leave --address out"
        ) from error


def _count_actors(actors: ActorSettings) -> int:
    """As many as a cluster has room for, beside the tasks that read lists and write rows."""
    resources = ray.cluster_resources()
    room = (resources.get("CPU", 0) - _CPUS_OF_FILTER) // actors.num_cpus
    if actors.num_gpus:
        room = min(room, resources.get("GPU", 0) // actors.num_gpus)
    if room < 1:
        raise InvalidValueError(
            f"the cluster has {resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs, and an actor needs"
            f" {actors.num_cpus} and {actors.num_gpus:g}, and --resume a CPU; add machines, or give --actors"
        )
    return int(room)


def describe_room() -> str:
    """What is free of all that Ray may use."""
    free, total = ray.available_resources(), ray.cluster_resources()
    counts = (f"{free.get(kind, 0):g} of {total.get(kind, 0):g} {kind}s" for kind in ("CPU", "GPU") if kind in total)
    return f"Ray has {' and '.join(counts)} free on {len(ray.nodes())} machine(s)"


def own_error(error: BaseException) -> MspnError | OSError | None:
    """What a user can mend of an error that Ray raised; None for anything else, which keeps its traceback."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or any(current is other for other in seen):
            continue
        seen.append(current)
        waiting += [getattr(current, "cause", None), current.__cause__]
    kinds: tuple[type[MspnError] | type[OSError], ...] = (MspnError, OSError)
    for kind in kinds:
        for current in seen:
            if isinstance(current, kind) and not hasattr(current, "cause"):
                return current
    return None
