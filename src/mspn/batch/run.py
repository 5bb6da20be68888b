"""A run over many files: tasks to actors, rows to Parquet, and what is done kept by Ray's checkpoints.

Ray is one of our own on this machine, or a cluster that is there; errors of its tasks become ours.
"""

import logging
import os
import signal
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray._private.node import Node
from ray.data import ActorPoolStrategy, DataContext
from ray.data.checkpoint import CheckpointConfig

from mspn.batch.listing import Listing, TaskList, make_tasks
from mspn.batch.monitor import Progress, started_monitor, watched
from mspn.batch.predictor import PackedEstimator, Predictor, ReadSettings
from mspn.batch.table import SOURCE, Counts, Destination
from mspn.errors import InvalidValueError, MspnError, reason
from mspn.io.files import temporary_folder
from mspn.io.storage import explained
from mspn.predict.estimator import PoseEstimator
from mspn.sources.resolve import WHOLE, Shard

_LOOPBACK = "127.0.0.1"
_STORE_BYTES = 256 * 2**20
"""Of the object store of this machine alone: it holds the estimator, names of files, and rows of tasks."""
_SHORT_PATH = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
"""Where Ray's sockets are, whose paths may have some hundred letters."""
_STARTS = 3
"""Tries to start Ray, whose processes wait for each other for some seconds only, however busy a machine is."""
_SECONDS_TO_CONNECT = 10.0
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
            _end_processes_of(error)
            if not tries_left:
                raise InvalidValueError(
                    f"Ray does not start on this machine ({reason(error)}); is it very busy, or short of memory?"
                ) from error
        else:
            return


def _end_processes_of(failed_start: BaseException) -> None:
    """End what a failed start has started: Ray loses hold of it, and would leave it beside the next try."""
    for frame, _ in traceback.walk_tb(failed_start.__traceback__):
        node = frame.f_locals.get("self")
        if isinstance(node, Node):
            node.kill_all_processes(check_alive=False, wait=True)


def _connect(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():  # Ray itself tries for minutes
            socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, OverflowError, ValueError, RuntimeError, AssertionError) as error:
        raise InvalidValueError(
            f"no Ray cluster at {address} ({reason(error)}); start one with `ray start --head`, give its token in"
            " RAY_AUTH_TOKEN, or leave --address out"
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


_FILES_PER_RUN = 50
"""Parquet files that a run writes, at least, where it has as many tasks: what is in one is done when it is whole."""
_MAX_ROWS_PER_FILE = 1000
"""A row of a hundred people takes some 200 kB."""
_FILTER_BYTES = 128 * 2**20
"""Of memory that Ray reserves to leave out what is done."""


@dataclass(frozen=True)
class Run:
    """What is to be done, and how."""

    sources: Sequence[str]
    destination: Destination
    estimator: PoseEstimator
    settings: Mapping[str, Any]
    """What results depend on, as values that JSON has: `resume` goes on with the same alone."""
    read: ReadSettings
    actors: ActorSettings
    shard: Shard = WHOLE
    address: str | None = None
    """Of a Ray cluster; None: this machine alone."""
    dashboard: bool = False
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Summary:
    """What a run has done."""

    images: int
    """Rows that it has written: images, and frames of videos."""
    people: int
    images_with_problems: int
    seconds: float
    seconds_predicting: float
    """Since the first actor had loaded the networks."""
    core_seconds: float
    """Processor time of the actors, without loading the networks."""
    actors: int
    before: Counts
    """Rows of earlier runs, which this one has gone on with."""

    def to_dict(self) -> dict[str, Any]:
        """As `summary.json` has it."""
        seconds = {name: round(getattr(self, name), 1) for name in ("seconds", "seconds_predicting", "core_seconds")}
        return {**asdict(self), **seconds}


def run_batch(run: Run, show: Callable[[Progress, int | None], None], warn: Callable[[str], None]) -> Summary:
    """Predict the images of many files with the actors of Ray, and write a row for each.

    Args:
        run: what is to be done.
        show: called about once a second with what is done, and of how many images if that is known.
        warn: called with a line where nothing is done for a minute.

    Raises:
        SourceError: if nothing is there.
        ValueError: for a destination with other results, or a cluster that is not there or too small.
        FileError: if something cannot be read or written.
    """
    with connected(run.address, run.actors, dashboard=run.dashboard) as num_actors:
        return predict_files(run, num_actors, show, warn)


def predict_files(
    run: Run, num_actors: int, show: Callable[[Progress, int | None], None], warn: Callable[[str], None]
) -> Summary:
    """Do as `run_batch`, on the Ray that this process is connected to."""
    start = time.monotonic()
    destination = run.destination
    listing = Listing(run.sources, run.read.limits, run.shard)
    destination.prepare(run.settings, resume=run.resume, overwrite=run.overwrite)
    before = destination.count()
    total = None if any(file.is_long for file in listing.files) else len(listing.files) - before.images
    tasks = make_tasks(listing.files, num_actors)
    last = Progress()

    def note(progress: Progress) -> None:
        nonlocal last
        last = progress
        show(progress, total)

    with started_monitor() as monitor, watched(monitor, note, warn, describe_room):
        if tasks:
            _predict(tasks, listing.file_systems, run, num_actors, monitor)
    after = destination.count()
    summary = Summary(
        after.images - before.images,
        after.people - before.people,
        after.images_with_problems - before.images_with_problems,
        time.monotonic() - start,
        last.seconds,
        last.core_seconds,
        num_actors,
        before,
    )
    destination.write_summary(summary.to_dict())
    return summary


def _predict(tasks: Sequence[pa.Table], file_systems: Sequence[Any], run: Run, num_actors: int, monitor: Any) -> None:
    """Predict all tasks that are not done yet, and write their rows."""
    destination, actors = run.destination, run.actors
    with DataContext.current(_data_context(destination)):
        files = ray.data.read_datasource(TaskList(tasks), override_num_blocks=len(tasks), num_cpus=CPUS_PER_TASK)
        predicted = files.map_batches(
            Predictor,
            fn_constructor_args=(PackedEstimator.pack(run.estimator), run.read, file_systems, actors.num_cpus, monitor),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=num_actors, max_tasks_in_flight_per_actor=2),
            num_cpus=actors.num_cpus - CPUS_LEFT_BY_ACTOR,
            num_gpus=actors.num_gpus,
        )
        num_files = sum(task.num_rows for task in tasks)
        try:
            predicted.write_parquet(
                destination.poses,
                filesystem=destination.storage.files,
                min_rows_per_file=max(1, min(num_files // _FILES_PER_RUN, _MAX_ROWS_PER_FILE)),
                ray_remote_args={"num_cpus": CPUS_PER_TASK},
                compression="zstd",
            )
        except Exception as error:
            mendable = own_error(error)
            if mendable is None:
                raise
            with explained(destination.storage.name):
                raise mendable from error


def _data_context(destination: Destination) -> DataContext:
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    context.execution_no_progress_timeout_s = -1  # a video may take hours
    # The rows of a task stay in one block, and so in one file: half a video would count as done.
    context.target_max_block_size = None
    checkpoints = CheckpointConfig(
        SOURCE,
        destination.done,
        override_filesystem=destination.storage.files,
        delete_checkpoint_on_success=False,  # so that files which come later can be added
    )
    checkpoints.checkpoint_actor_pool_max_size = 1  # each takes a CPU from the actors that predict
    checkpoints.checkpoint_actor_memory_bytes = _FILTER_BYTES
    context.checkpoint_config = checkpoints
    return context
