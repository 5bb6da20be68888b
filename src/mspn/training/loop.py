"""The training loop, on one device or many; a resumed run ends with the weights of one that was never stopped."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mspn.checkpoints.format import save_weights
from mspn.checkpoints.initialize import initialize_from
from mspn.checkpoints.metadata import TrainingSession
from mspn.config.recipe import AnyRecipe
from mspn.datasets.samples import SeededBatches
from mspn.datasets.workers import prepare_worker, start_workers, workers_killed_on_failure
from mspn.distributed import ALONE, Processes
from mspn.errors import FileError, InvalidValueError, TrainingDivergedError, TrainingStoppedError, WeightsError
from mspn.inference.devices import choose_device
from mspn.interrupts import StopRequest, stop_requests
from mspn.io.files import locked_folder, remove_leftovers
from mspn.models import AnyNetwork
from mspn.reporting import optional_output
from mspn.training.checkpoint import (
    BEST_FILE,
    CHECKPOINT_FOLDER,
    WEIGHTS_FILE,
    Progress,
    capture_random_state,
    find_checkpoints,
    restore_checkpoint,
    restore_random_state,
    save_checkpoint,
    save_recipe,
)
from mspn.training.environment import describe_environment
from mspn.training.html_report import REPORT_FILE, write_report
from mspn.training.metrics import (
    MetricsLog,
    MetricsSink,
    ReportIteration,
    ReportValidation,
    TensorBoardLog,
    TrainingLogger,
    UnreadableImageGuard,
)
from mspn.training.sample_sheets import SHEET_CROPS
from mspn.training.tasks import Batch, read_task
from mspn.training.train_step import TrainStep, learning_rate

logger = logging.getLogger(__name__)


def train(
    recipe: AnyRecipe,
    run: Path,
    *,
    resume: bool,
    processes: Processes = ALONE,
    report: ReportIteration = lambda _report: None,
    report_validation: ReportValidation = lambda _done, _total: None,
) -> Path:
    """Train a network and keep everything in the run folder.

    Args:
        recipe: what to train, on what, how.
        run: folder for the recipe, checkpoints, metrics and weights.
        resume: continue from the folder's last checkpoint, if it has one.
        processes: processes that share the work; each of them calls this function, and the first one writes the files.
        report: called after every iteration in the first process, for progress displays.
        report_validation: called in the first process with how many validation images are done, and of how many.

    Returns:
        Path of the weights file.

    Raises:
        AnnotationError: for a data file that is missing or of no use.
        TrainingDivergedError: if the loss or the weights become infinite or no number; the last checkpoint is still
            there.
        TrainingStoppedError: after Ctrl-C or SIGTERM, when a checkpoint is written.
        OSError: if another process writes into the folder, a checkpoint cannot be written, or a process that reads
            images is killed; the last checkpoint is still there.
        ImageError: if more than one image in ten cannot be read; fewer are reported and do not count.
        ValueError: if the recipe has no data, fewer iterations than the run already has, or batches that the processes
            cannot share evenly; or the folder holds a run that is not to be resumed, or not the same for all processes.
        WeightsError: if the weights to start from are missing or do not fit.
    """
    if not recipe.data.train:
        raise InvalidValueError(f"recipe {recipe.name} names no data to train on; set data.train")
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    with locked_folder(run) if processes.is_first else nullcontext(), stop_requests() as stop:
        has_checkpoint = bool(find_checkpoints(run))
        # This also waits until all processes have looked: the first one is about to write.
        if processes.highest(has_checkpoint) != has_checkpoint:
            raise InvalidValueError(
                f"another process finds a checkpoint in {run}; all machines must see the same run folder"
            )
        if has_checkpoint and not resume:
            raise InvalidValueError(f"{run} already holds a run; resume it, or choose another folder")
        session = _Session(recipe, run, processes, is_new=not has_checkpoint)
        try:
            with workers_killed_on_failure():
                session.run_iterations(stop, report, report_validation)
        except (RuntimeError, ConnectionError, EOFError) as error:
            # torch has no error of its own for this, and raises what it has wherever the process happens to be.
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            raise FileError(
                "a process that reads images was killed, perhaps for want of memory, or of room in /dev/shm;"
                f" {session.describe_last_checkpoint()}: lower data.workers, then go on with --resume"
            ) from error
    return run / WEIGHTS_FILE


class _Session:
    """One call of `train`: from the first iteration, or the last checkpoint, until the end or a stop."""

    def __init__(self, recipe: AnyRecipe, run: Path, processes: Processes, *, is_new: bool) -> None:
        self._recipe = recipe
        self._run = run
        self._processes = processes
        self._device = choose_device(recipe.train.device)
        self._task = read_task(recipe, self._device, processes)
        network = self._start_network(is_new=is_new)
        self._train_step = TrainStep(network, self._task.compute_losses, recipe.train, self._device, processes)
        self._meter_state: Mapping[str, Any] | None = None
        self._progress = Progress() if is_new else self._restore_checkpoint()
        self._saved = self._progress.iteration
        self._logger: TrainingLogger
        self._sessions: tuple[TrainingSession, ...] = ()
        if processes.is_first:
            for folder in (run, run / CHECKPOINT_FOLDER):
                remove_leftovers(folder)

    def _start_network(self, *, is_new: bool) -> AnyNetwork:
        config = self._recipe.train
        torch.manual_seed(config.seed)
        network = self._task.build_network()
        if is_new and config.initial_weights is not None:
            names = config.initial_keypoints
            initialize_from(network, config.initial_weights, config.initial_scope, self._task.keypoints, names)
        return network

    def _restore_checkpoint(self) -> Progress:
        progress = restore_checkpoint(self._run, self._restore)
        newest = self._processes.highest(progress.iteration)
        if newest != progress.iteration:
            raise InvalidValueError(
                f"another process goes on from iteration {newest}, this one finds nothing later than"
                f" {progress.iteration} in {self._run}; all machines must see the same run folder"
            )
        last = self._recipe.train.iterations
        if progress.iteration > last:
            raise InvalidValueError(
                f"{self._run} already has {progress.iteration} iterations; set train.iterations to that or more,"
                f" not {last}"
            )
        if self._processes.is_first:
            logger.info("going on from iteration %d", progress.iteration)
        return progress

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._train_step.restore(state)
        self._meter_state = state["metrics"]
        if self._processes.rank < len(state["random"]):
            restore_random_state(state["random"][self._processes.rank], self._device)

    def run_iterations(self, stop: StopRequest, report: ReportIteration, report_validation: ReportValidation) -> None:
        """Train until the last iteration, or until a stop is requested."""
        config = self._recipe.train
        data = self._task.data
        batches = SeededBatches(
            data.set_sizes,
            data.set_weights,
            config.batch_size,
            config.seed,
            self._progress.iteration,
            processes=self._processes,
            parts=config.accumulate,
            image_index=data.grouping,
        )
        self._logger = TrainingLogger(config, self._device, self._open_logs(batches), report)
        if self._meter_state is not None:
            self._logger.restore(self._meter_state)
        guard = UnreadableImageGuard(data)
        began = time.monotonic() - self._progress.seconds
        for iteration, parts in self._remaining_batches(self._loader(batches)):
            self._logger.data_arrived()
            guard.check(parts)
            rate = learning_rate(iteration, config)
            self._logger.step_done(iteration, self._step(parts, rate, iteration), rate)
            self._progress = self._progress._replace(iteration=iteration, seconds=time.monotonic() - began)

            is_last = iteration == config.iterations
            epoch, into_epoch = divmod(iteration, batches.batches_per_epoch)
            epoch_ends = into_epoch == 0
            validates = self._task.validation.is_possible and (
                is_last or (epoch_ends and epoch % config.validate_every == 0)
            )
            if epoch_ends or is_last or iteration % config.metrics_every == 0:
                row = self._logger.row(epoch + (into_epoch > 0), iteration, rate, self._progress.seconds)
                self._logger.write(row._replace(validation=self._validate(report_validation) if validates else None))
            is_stopped = self._processes.highest(stop.signal_number)
            if is_last or is_stopped or validates or iteration % config.checkpoint_every == 0:
                self._save()
            if self._progress.exhausts(config.patience):
                if self._processes.is_first:
                    logger.info("training ends: no better AP than %.3f since", self._progress.best)
                return
            if is_stopped and not is_last:
                raise TrainingStoppedError(iteration, is_stopped)

    def _remaining_batches(self, loader: DataLoader[Batch]) -> Iterator[tuple[int, list[Batch]]]:
        """Number and this process's share of the batch of each iteration that is left."""
        config = self._recipe.train
        numbers = range(self._progress.iteration + 1, config.iterations + 1)
        if not numbers or self._progress.exhausts(config.patience):
            return
        batches = start_workers(loader)
        for iteration in numbers:
            yield iteration, list(islice(batches, config.accumulate))

    def _loader(self, batches: SeededBatches) -> DataLoader[Batch]:
        return DataLoader(
            self._task.data.samples,
            batch_sampler=batches,
            num_workers=self._recipe.data.workers,
            worker_init_fn=prepare_worker,
            # Each start of a loader draws a number; from torch's own generator, a resumed run would draw once more.
            generator=torch.Generator(),
            pin_memory=self._device.type == "cuda",
        )

    def _open_logs(self, batches: SeededBatches) -> list[MetricsSink]:
        """Describe this session in the run folder, and open the files of metrics; in the first process alone."""
        if not self._processes.is_first:
            return []
        done = self._progress.iteration
        save_recipe(self._run, self._recipe)
        root, data, count = self._recipe.data.root, self._task.fingerprints(), self._processes.count
        self._sessions = describe_environment(self._run, root, data, iteration=done, num_processes=count)
        if not done:
            draws = list(islice(chain.from_iterable(batches), SHEET_CROPS))
            self._task.write_sheet(self._run, draws)
        logs: list[MetricsSink] = [MetricsLog(self._run, done)]
        if self._recipe.train.tensorboard:
            logs.append(TensorBoardLog(self._run, done))
        return logs

    def _step(self, parts: list[Batch], rate: float, iteration: int) -> Tensor:
        try:
            return self._train_step.step(parts, rate)
        except TrainingDivergedError as error:
            raise self._diverged(str(error), iteration) from None

    def _diverged(self, what: str, iteration: int) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"{what} at iteration {iteration}; no checkpoint is written, {self.describe_last_checkpoint()}:"
            " lower train.learning_rate, then start again with --resume"
        )

    def _validate(self, report: ReportValidation) -> dict[str, float]:
        measured = self._task.validation.measure(self._train_step.weights, report)
        if measured["AP"] >= self._progress.best:  # of equals the later, which has learned for longer at lower rates
            self._save_weights(BEST_FILE)
        self._progress = self._progress.with_measured(measured["AP"])
        return measured

    def _save(self) -> None:
        """Write weights and a checkpoint; the weights first, since writing them refuses numbers that are not finite."""
        random_states = self._processes.gather([capture_random_state(self._device)])
        self._save_weights(WEIGHTS_FILE)
        if self._processes.is_first:
            with self._write_errors():
                state = {**self._train_step.state(), "random": random_states, "metrics": self._logger.state()}
                save_checkpoint(self._run, state, self._progress, self._recipe.train.keep_checkpoints)
            with optional_output(REPORT_FILE):
                write_report(self._run)
        self._saved = self._progress.iteration

    def _save_weights(self, name: str) -> None:
        if self._processes.is_first:
            with self._write_errors():
                metadata = self._task.metadata().model_copy(update={"sessions": self._sessions})
                save_weights(self._run / name, self._train_step.weights, metadata)

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except WeightsError as error:
            raise self._diverged("the weights are not finite", self._progress.iteration) from error
        except OSError as error:
            raise FileError(
                f"iteration {self._progress.iteration} cannot be written ({error}); {self.describe_last_checkpoint()}:"
                " make room, then go on with --resume"
            ) from error

    def describe_last_checkpoint(self) -> str:
        """What the run folder can be resumed from, for messages."""
        return f"{self._run} keeps that of iteration {self._saved}" if self._saved else "there is none yet"
