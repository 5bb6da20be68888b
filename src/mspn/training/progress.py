"""Reports training progress to callers and to files of metrics; stops on too many unreadable images."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from mspn.config.train import TrainConfig
from mspn.errors import ImageError
from mspn.training.metrics import Meter, TrainingMetrics, peak_memory_mib
from mspn.training.task import Batch, TrainingData

_RECENT_SECONDS = 10.0


class IterationReport(NamedTuple):
    """What a progress display may show after an iteration; speeds and shares are of the last ten seconds."""

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
ReportValidation = Callable[[int, int], None]
"""Called with how many images are done, and of how many."""


class MetricsSink(Protocol):
    """Keeps rows of metrics."""

    def append(self, row: TrainingMetrics) -> None: ...


class TrainingLogger:
    """Measures the iterations, reports each, and writes rows of metrics."""

    def __init__(
        self, config: TrainConfig, device: torch.device, sinks: Sequence[MetricsSink], report: ReportIteration
    ) -> None:
        """Start the clocks."""
        self._device = device
        self._sinks = sinks
        self._report = report
        self._meter, self._recent = Meter(config.batch_size), Meter(config.batch_size)
        self._average_precision: float | None = None

    def state(self) -> dict[str, Any]:
        """What a resumed run needs for the row that is not written yet."""
        return self._meter.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._meter.restore(state)

    def data_arrived(self) -> None:
        self._meter.data_arrived()
        self._recent.data_arrived()

    def step_done(self, iteration: int, losses: Tensor, rate: float) -> None:
        """Count an iteration; losses by stage and level."""
        self._meter.step_done(losses)
        self._recent.step_done(losses)
        self._report(
            IterationReport(
                iteration=iteration,
                losses=losses.tolist(),
                learning_rate=rate,
                samples_per_second=self._recent.samples_per_second,
                waiting_share=self._recent.waiting_share,
                memory_mib=peak_memory_mib(self._device),
                average_precision=self._average_precision,
            )
        )
        if self._recent.seconds > _RECENT_SECONDS:
            self._recent.reset()

    def row(self, epoch: int, iteration: int, rate: float, seconds: float) -> TrainingMetrics:
        """The metrics since the last row that was written."""
        return TrainingMetrics(
            epoch=epoch,
            iteration=iteration,
            loss=self._meter.loss,
            losses=self._meter.losses,
            learning_rate=rate,
            samples_per_second=self._meter.samples_per_second,
            waiting_share=self._meter.waiting_share,
            memory_mib=peak_memory_mib(self._device),
            seconds=seconds,
        )

    def write(self, row: TrainingMetrics) -> None:
        """Write a row, and measure anew from here on."""
        if row.validation is not None:
            self._average_precision = row.validation["AP"]
            logger.info("iteration %d: AP %.3f on the validation set", row.iteration, self._average_precision)
        for sink in self._sinks:
            sink.append(row)
        self._meter.reset()
        self._recent.reset()


logger = logging.getLogger(__name__)

_MAX_UNREADABLE = 0.1


class UnreadableImageGuard:
    """Says once of each image that it cannot be read, and stops when that is no exception any more."""

    def __init__(self, data: TrainingData) -> None:
        self._images, self._image_index = data.images, data.image_index
        self._reported: set[int] = set()

    def check(self, parts: Sequence[Batch]) -> None:
        """Log the images of a batch that cannot be read, those that are new.

        Raises:
            ImageError: if they are more than one in ten of all images.
        """
        samples = [index for part in parts for index in part.sample_index[~part.is_readable].tolist()]
        for index in map(int, self._image_index[samples]):
            path = self._images[index]
            if index not in self._reported:
                self._reported.add(index)
                logger.warning("skipped: %s cannot be read (%d such images so far)", path, len(self._reported))
            if len(self._reported) > max(1, _MAX_UNREADABLE * len(self._images)):
                raise ImageError(f"{len(self._reported)} images cannot be read, the last is {path}; check data.root")
