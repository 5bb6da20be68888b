"""A run over many files: tasks to actors, rows to Parquet, and what is done kept by Ray's checkpoints."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy, DataContext
from ray.data.checkpoint import CheckpointConfig

from mspn.batch.cluster import CPUS_LEFT_BY_ACTOR, CPUS_PER_TASK, ActorSettings, connected, describe_room, own_error
from mspn.batch.destination import Counts, Destination
from mspn.batch.listing import Listing, TaskList, make_tasks
from mspn.batch.monitor import Progress, started_monitor, watched
from mspn.batch.predictor import PackedEstimator, Predictor, ReadSettings
from mspn.batch.table import SOURCE
from mspn.io.storage import explained
from mspn.predict.estimator import PoseEstimator
from mspn.sources.resolve import WHOLE, Shard

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
