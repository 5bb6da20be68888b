"""Reports training progress to the display, the log and metrics files; stops on too many unreadable images."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mspn.config.train import TrainConfig
from mspn.datasets.people import ImagePaths
from mspn.errors import ImageError
from mspn.training.metrics import EpochMetrics, Meter, peak_memory_mib

_SECONDS_BETWEEN_LINES = 60.0


class IterationReport(NamedTuple):
    """What a progress display may show after an iteration; speeds and shares are of the last minute at most."""

    iteration: int
    losses: list[list[float]]
    """Its own, by stage and level, fine to coarse, weighted."""
    learning_rate: float
    samples_per_second: float
    waiting_share: float
    memory_mib: float
    average_precision: float | None
    """On the validation set, when it was last measured."""


ReportIteration = Callable[[IterationReport], None]


class EpochLog(Protocol):
    """Keeps lines of epochs."""

    def append(self, line: EpochMetrics) -> None: ...


class TrainingLogger:
    """Measures the iterations that the loop tells it of, and passes on what people and files should know."""

    def __init__(
        self, config: TrainConfig, device: torch.device, logs: Sequence[EpochLog], report: ReportIteration
    ) -> None:
        """Begin to measure; lines of epochs go to the logs."""
        self._config = config
        self._device = device
        self._logs = logs
        self._report = report
        self._epoch, self._recent = Meter(config.batch_size), Meter(config.batch_size)
        self._told = time.perf_counter()
        self._average_precision: float | None = None

    def data_arrived(self) -> None:
        self._epoch.data_arrived()
        self._recent.data_arrived()

    def step_done(self, iteration: int, losses: Tensor, rate: float) -> None:
        """Count an iteration; losses by stage and level."""
        self._epoch.step_done(losses)
        self._recent.step_done(losses)
        recent = self._recent
        self._report(
            IterationReport(
                iteration=iteration,
                losses=losses.tolist(),
                learning_rate=rate,
                samples_per_second=recent.samples_per_second,
                waiting_share=recent.waiting_share,
                memory_mib=peak_memory_mib(self._device),
                average_precision=self._average_precision,
            )
        )
        if time.perf_counter() - self._told > _SECONDS_BETWEEN_LINES:
            self._tell(f"iteration {iteration}", iteration, recent)

    def epoch_done(self, epoch: int, iteration: int, rate: float, seconds: float) -> EpochMetrics:
        """The epoch's line, not written yet."""
        self._tell(f"epoch {epoch}", iteration, self._epoch)
        return EpochMetrics(
            epoch=epoch,
            iteration=iteration,
            loss=self._epoch.loss,
            losses=self._epoch.losses,
            learning_rate=rate,
            samples_per_second=self._epoch.samples_per_second,
            waiting_share=self._epoch.waiting_share,
            memory_mib=peak_memory_mib(self._device),
            seconds=seconds,
        )

    def write(self, line: EpochMetrics) -> None:
        """Keep an epoch's line, and begin to measure the next epoch."""
        if line.validation is not None:
            self._average_precision = line.validation["AP"]
            logger.info("epoch %d: AP %.3f on the validation set", line.epoch, self._average_precision)
        for log in self._logs:
            log.append(line)
        self._epoch.reset()
        self._recent.reset()

    def _tell(self, when: str, iteration: int, meter: Meter) -> None:
        left = (self._config.iterations - iteration) * self._config.batch_size / meter.samples_per_second
        logger.info(
            "%s: loss %.1f, %.0f samples/s, %.0f %% waiting for data, about %.0f min left",
            *(when, meter.loss, meter.samples_per_second, 100 * meter.waiting_share, left / 60),
        )
        self._told = time.perf_counter()
        if meter is self._recent:
            meter.reset()


logger = logging.getLogger(__name__)

_MAX_UNREADABLE = 0.1


class UnreadableImageGuard:
    """Says once of each image that it cannot be read, and stops when that is no exception any more."""

    def __init__(self, images: ImagePaths) -> None:
        self._images = images
        self._reported: set[int] = set()

    def report_unreadable(self, unreadable: Sequence[int]) -> None:
        """Log those images, by their positions, that are new.

        Raises:
            ImageError: if they are more than one in ten of all images.
        """
        for index in unreadable:
            path = self._images[index]
            if index not in self._reported:
                self._reported.add(index)
                logger.warning("skipped: %s cannot be read (%d such images so far)", path, len(self._reported))
            if len(self._reported) > max(1, _MAX_UNREADABLE * len(self._images)):
                raise ImageError(f"{len(self._reported)} images cannot be read, the last is {path}; check data.root")
