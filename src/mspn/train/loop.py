"""Training a recipe on one device."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from mspn.config import Recipe
from mspn.crop import normalise
from mspn.data.dataset import CropDataset, Sample, SeededBatches, prepare_worker, read_training_sets
from mspn.data.people import People, merge
from mspn.images import PictureError
from mspn.loss import KeypointLabels, StageLosses, supervise
from mspn.model.build import build_network
from mspn.model.pose_network import PoseNetwork, place
from mspn.predict.runner import choose_device
from mspn.train.metrics import EpochMeter, MetricsLog
from mspn.train.schedule import learning_rate
from mspn.train.state import STATE_FILE, WEIGHTS_FILE, Progress, load_state, save_recipe, save_state
from mspn.train_config import TrainConfig
from mspn.weights.checkpoint import Header, save_weights
from mspn.weights.imagenet import start_from_imagenet

logger = logging.getLogger(__name__)


class TrainingDivergedError(RuntimeError):
    """The loss is no number any more."""


_EPOCH_LINE = "epoch %d: loss %.1f, %.0f people/s, about %d min left"

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
        PictureError: if more than one picture in ten cannot be read; fewer are reported and do not count.
        ValueError: if the recipe has no data, or fewer iterations than the run already has.
        WeightsError: if the ImageNet weights to start from are missing or do not fit.
    """
    config = recipe.train
    if not recipe.data.train:
        raise ValueError(f"recipe {recipe.name} names no data to train on; set data.train")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    will_resume = resume and (run / STATE_FILE).is_file()
    model = place(_new_network(recipe, from_imagenet=not will_resume), device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    progress = _restore(run / STATE_FILE, model, optimizer, config) if will_resume else Progress(0, 0.0)
    sets = read_training_sets(recipe)
    people = merge(sets)
    save_recipe(run, recipe)
    log = MetricsLog(run, progress.iteration)
    batches = SeededBatches(
        [len(one) for one in sets],
        [one.weight for one in recipe.data.train],
        config.batch_size,
        config.seed,
        progress.iteration,
    )
    loader = DataLoader(
        CropDataset(people, recipe),
        batch_sampler=batches,
        num_workers=recipe.data.workers,
        worker_init_fn=prepare_worker,
        pin_memory=device.type == "cuda",
    )
    header = Header(recipe=recipe, data=tuple(people.annotations for people in recipe.data.train))

    model.train()
    saved = progress.iteration
    pictures = _PictureWatch(people)
    meter = EpochMeter(config.batch_size)
    began = time.monotonic() - progress.seconds
    for iteration, batch in _numbered(loader, progress.iteration, config.iterations):
        meter.data_arrived()
        rate = learning_rate(iteration, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        pictures.report_unreadable(batch)
        losses = _compute_losses(model, batch, recipe, device)
        total = losses.total.item()
        if not math.isfinite(total):
            there = f"{run} keeps that of iteration {saved}" if saved else "there is none yet"
            raise TrainingDivergedError(
                f"the loss is {total} at iteration {iteration}; no checkpoint is written, {there}:"
                " lower train.learning_rate, then start again with --resume"
            )
        _step(optimizer, losses)
        meter.step_done(total, losses)
        report(iteration, total)
        epoch_ends = iteration % batches.batches_per_epoch == 0
        is_last = iteration == config.iterations
        if epoch_ends or is_last:
            epoch = -(-iteration // batches.batches_per_epoch)
            line = meter.finish_epoch(epoch, iteration, rate, time.monotonic() - began)
            log.append(line)
            left = (config.iterations - iteration) * config.batch_size / line.people_per_second
            logger.info(_EPOCH_LINE, epoch, line.loss, line.people_per_second, left / 60)
        if epoch_ends or is_last or iteration % config.checkpoint_every == 0:
            # The weights first: writing them refuses numbers that are not finite.
            save_weights(run / WEIGHTS_FILE, model, header)
            save_state(run / STATE_FILE, model, optimizer, Progress(iteration, time.monotonic() - began))
            saved = iteration
    return run / WEIGHTS_FILE


def _new_network(recipe: Recipe, *, from_imagenet: bool) -> PoseNetwork:
    torch.manual_seed(recipe.train.seed)
    network = build_network(recipe.model)
    if from_imagenet and recipe.train.initial_weights is not None:
        start_from_imagenet(network, Path(recipe.train.initial_weights), recipe.train.initial_scope)
    return network


def _restore(path: Path, model: PoseNetwork, optimizer: torch.optim.Optimizer, config: TrainConfig) -> Progress:
    """Go back to a run's last checkpoint; settings that changed since then take effect."""
    progress = load_state(path, model, optimizer)
    if progress.iteration > config.iterations:
        raise ValueError(
            f"{path.parent} already has {progress.iteration} iterations; set train.iterations to that or more,"
            f" not {config.iterations}"
        )
    for group in optimizer.param_groups:
        group["weight_decay"] = config.weight_decay
    logger.info("going on from iteration %d", progress.iteration)
    return progress


def _numbered(loader: DataLoader[Sample], done: int, last: int) -> Iterator[tuple[int, Sample]]:
    if done < last:
        for iteration, batch in enumerate(loader, start=done + 1):
            yield iteration, batch
            if iteration == last:
                return


def _compute_losses(model: PoseNetwork, batch: Sample, recipe: Recipe, device: torch.device) -> StageLosses:
    labels = KeypointLabels(*(tensor.to(device, non_blocking=True) for tensor in batch.labels))
    crops = normalise(batch.crop.to(device, non_blocking=True))
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.train.precision == "bfloat16"):
        outputs = model(crops)
    return supervise(outputs, labels, recipe.supervision)


def _step(optimizer: torch.optim.Optimizer, losses: StageLosses) -> None:
    optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


class _PictureWatch:
    """Says once of each picture that it cannot be read, and stops when that is no exception any more."""

    _MOST_UNREADABLE = 0.1

    def __init__(self, people: People) -> None:
        self._people = people
        self._reported: set[int] = set()

    def report_unreadable(self, batch: Sample) -> None:
        """Log new unreadable pictures.

        Raises:
            PictureError: if they are more than one in ten of all pictures.
        """
        if batch.is_readable.all():
            return
        for person in batch.person[~batch.is_readable].tolist():
            index = int(self._people.picture_index[person])
            path = self._people.pictures[index]
            if index not in self._reported:
                self._reported.add(index)
                logger.warning("skipped: %s cannot be read (%d such pictures so far)", path, len(self._reported))
        if len(self._reported) > max(1, self._MOST_UNREADABLE * len(self._people.pictures)):
            raise PictureError(f"{len(self._reported)} pictures cannot be read, the last is {path}; check data.root")
