"""Training a recipe on one device."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from mspn.config import Recipe
from mspn.crop import normalise
from mspn.data.dataset import CropDataset, Sample, SeededBatches, prepare_worker, read_training_sets
from mspn.data.people import merge
from mspn.loss import KeypointLabels, StageLosses, supervise
from mspn.model.build import build_network
from mspn.model.pose_network import PoseNetwork, place
from mspn.predict.runner import choose_device
from mspn.train.metrics import EpochMetrics, MetricsLog
from mspn.train.schedule import learning_rate
from mspn.train.state import STATE_FILE, WEIGHTS_FILE, Progress, load_state, save_recipe, save_state
from mspn.weights.checkpoint import Header, save_weights

logger = logging.getLogger(__name__)


class TrainingDivergedError(RuntimeError):
    """The loss is no number any more."""


ReportIteration = Callable[[int, float], None]
"""Called after each iteration with the number done and the loss."""


def train(recipe: Recipe, run: Path, *, resume: bool, report: ReportIteration = lambda _iteration, _loss: None) -> Path:
    """Train a network and keep everything in the run folder.

    Args:
        recipe: what to train, on what, how.
        run: folder for the recipe, checkpoints, metrics and weights.
        resume: go on from the folder's last checkpoint, if it has one.
        report: told of every iteration, for progress displays.

    Returns:
        Path of the weights file.

    Raises:
        AnnotationError: for a data file that is missing or of no use.
        TrainingDivergedError: if the loss becomes infinite or no number; the last checkpoint is still there.
        ValueError: if the recipe has no data.
    """
    config = recipe.train
    if not recipe.data.train:
        raise ValueError(f"recipe {recipe.name} names no data to train on; set data.train")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    torch.manual_seed(config.seed)
    model = place(build_network(recipe.model), device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    progress = Progress(0, 0.0)
    if resume and (run / STATE_FILE).is_file():
        progress = load_state(run / STATE_FILE, model, optimizer)
        logger.info("going on from iteration %d", progress.iteration)
    sets = read_training_sets(recipe)
    save_recipe(run, recipe)
    log = MetricsLog(run, progress.iteration)
    weights = [config.weight for config in recipe.data.train]
    batches = SeededBatches(
        [len(people) for people in sets], weights, config.batch_size, config.seed, progress.iteration
    )
    loader = DataLoader(
        CropDataset(merge(sets), recipe),
        batch_sampler=batches,
        num_workers=recipe.data.workers,
        worker_init_fn=prepare_worker,
        pin_memory=device.type == "cuda",
    )
    header = Header(recipe=recipe, data=tuple(people.annotations for people in recipe.data.train))

    model.train()
    meter = _EpochMeter(config.batch_size)
    began = time.monotonic() - progress.seconds
    for iteration, batch in _numbered(loader, progress.iteration, config.iterations):
        meter.data_arrived()
        rate = learning_rate(iteration, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = _step(model, optimizer, batch, recipe, device)
        total = losses.total.item()
        if not torch.isfinite(losses.total):
            raise TrainingDivergedError(
                f"the loss is {total} at iteration {iteration}; the last checkpoint in {run} is intact:"
                " lower train.learning_rate, then start again with --resume"
            )
        meter.step_done(losses)
        report(iteration, total)
        epoch_ends = iteration % batches.batches_per_epoch == 0
        is_last = iteration == config.iterations
        if epoch_ends or is_last:
            epoch = -(-iteration // batches.batches_per_epoch)
            line = meter.finish_epoch(epoch, iteration, rate, time.monotonic() - began)
            log.append(line)
            left = (config.iterations - iteration) * config.batch_size / line.people_per_second
            logger.info(
                "epoch %d: loss %.1f, %.0f people/s, about %d min left",
                epoch,
                line.loss,
                line.people_per_second,
                left / 60,
            )
        if epoch_ends or is_last or iteration % config.checkpoint_every == 0:
            save_state(run / STATE_FILE, model, optimizer, Progress(iteration, time.monotonic() - began))
            save_weights(run / WEIGHTS_FILE, model, header)
    return run / WEIGHTS_FILE


def _numbered(loader: DataLoader[Sample], done: int, last: int) -> Iterator[tuple[int, Sample]]:
    if done < last:
        for iteration, batch in enumerate(loader, start=done + 1):
            yield iteration, batch
            if iteration == last:
                return


def _step(
    model: PoseNetwork, optimizer: torch.optim.Optimizer, batch: Sample, recipe: Recipe, device: torch.device
) -> StageLosses:
    labels = KeypointLabels(*(tensor.to(device, non_blocking=True) for tensor in batch.labels))
    crops = normalise(batch.crop.to(device, non_blocking=True))
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.train.precision == "bfloat16"):
        outputs = model(crops)
    losses = supervise(outputs, labels, recipe.supervision)
    optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return losses


class _EpochMeter:
    """Averages since the epoch began (or since training resumed)."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._restart()

    def _restart(self) -> None:
        self._began = self._ended_last_step = time.monotonic()
        self._waited = self._loss = self._finest_loss = 0.0
        self._steps = 0

    def data_arrived(self) -> None:
        self._waited += time.monotonic() - self._ended_last_step

    def step_done(self, losses: StageLosses) -> None:
        self._loss += losses.total.item()
        self._finest_loss += losses.by_stage_and_level[-1, 0].item()
        self._steps += 1
        self._ended_last_step = time.monotonic()

    def finish_epoch(self, epoch: int, iteration: int, rate: float, seconds: float) -> EpochMetrics:
        elapsed = time.monotonic() - self._began
        line = EpochMetrics(
            epoch=epoch,
            iteration=iteration,
            loss=self._loss / self._steps,
            finest_loss=self._finest_loss / self._steps,
            learning_rate=rate,
            people_per_second=self._steps * self._batch_size / elapsed,
            waiting_share=self._waited / elapsed,
            seconds=seconds,
        )
        self._restart()
        return line
