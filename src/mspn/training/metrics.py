"""A run's metrics, in CSV, JSON lines and TensorBoard; its progress, told to callers.

Training stops on too many unreadable images.
"""

import csv
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from pydantic import FiniteFloat, TypeAdapter, ValidationError
from torch import Tensor

from mspn.config.train import TrainConfig
from mspn.errors import ImageError, InvalidValueError
from mspn.io.files import replacing
from mspn.io.images import read_image
from mspn.structures.settings import first_problem
from mspn.training.sample_sheets import SHEET_FILE
from mspn.training.tasks import Batch, TrainingData

logger = logging.getLogger(__name__)

_JSONL = "metrics.jsonl"


class TrainingMetrics(NamedTuple):
    """A row of the metrics: means over the iterations since the row before."""

    epoch: int
    """In which the iterations lie, from 1 on."""
    iteration: int
    """The last one."""
    loss: float
    losses: list[list[float]]
    """Its parts by stage and level, fine to coarse, weighted."""
    learning_rate: float
    samples_per_second: float
    """Over all processes."""
    waiting_share: float
    """Share of the time spent waiting for data, 0 to 1."""
    memory_mib: float
    """Most memory that the first process has held so far: of its GPU, else of the machine."""
    seconds: FiniteFloat
    """Since training began, over all sessions."""
    validation: dict[str, float] | None = None
    """COCO's numbers on the validation set, where they were measured after this iteration."""


_ROW = TypeAdapter(TrainingMetrics)


class MetricsLog:
    """`metrics.csv` and `metrics.jsonl` of a run folder."""

    def __init__(self, run: Path, iteration: int) -> None:
        """Open the log; rows of iterations after `iteration` are dropped, since training redoes those.

        Raises:
            ValueError: if the rows that are there are damaged.
        """
        self._csv = run / "metrics.csv"
        self._jsonl = run / _JSONL
        kept = [row for row in read_metrics(run) if row.iteration <= iteration] if iteration else []
        with replacing(self._csv) as csv_path, replacing(self._jsonl) as jsonl_path:
            csv_path.touch()
            jsonl_path.touch()
            for row in kept:
                _append(csv_path, jsonl_path, row)

    def append(self, row: TrainingMetrics) -> None:
        _append(self._csv, self._jsonl, row)


def _append(csv_path: Path, jsonl_path: Path, row: TrainingMetrics) -> None:
    cells = _csv_row(row)
    with csv_path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([cells.keys()] * (file.tell() == 0) + [cells.values()])
    with jsonl_path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row._asdict()) + "\n")


def _csv_row(metrics: TrainingMetrics) -> dict[str, Any]:
    cells = metrics._asdict()
    losses, validation = cells.pop("losses"), cells.pop("validation")
    for stage, levels in enumerate(losses, start=1):
        cells |= {f"loss_stage{stage}_level{level}": loss for level, loss in enumerate(levels, start=1)}
    return cells | {"validation_ap": "" if validation is None else validation["AP"]}


def read_metrics(run: Path) -> list[TrainingMetrics]:
    """The rows of a run folder's metrics.jsonl; none where there is no such file.

    What a crash cut short in the middle of a row does not count.

    Raises:
        ValueError: if a whole row is damaged.
    """
    path = run / _JSONL
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            rows.append(_ROW.validate_json(line))
        except ValidationError as error:
            raise InvalidValueError(
                f"{path}:{number} is damaged ({first_problem(error, 'the row')}); delete the line"
            ) from error
        if list(map(len, rows[-1].losses)) != list(map(len, rows[0].losses)):
            raise InvalidValueError(f"{path}:{number} has losses of other stages than the first line; delete the line")
    return rows


class Meter:
    """Means over the iterations since it was last reset.

    Its clock is the finest one, since the others of Windows tick 64 times a second.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self.reset()

    def reset(self) -> None:
        self._began = self._ended_last_step = time.perf_counter()
        self._waited = 0.0
        self._steps = 0
        self._losses: Tensor | float = 0.0

    def data_arrived(self) -> None:
        self._waited += time.perf_counter() - self._ended_last_step

    def step_done(self, losses: Tensor) -> None:
        """Count an iteration; losses by stage and level, on the CPU."""
        self._losses = self._losses + losses.double()
        self._steps += 1
        self._ended_last_step = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """What `restore` continues from, for a checkpoint."""
        seconds = time.perf_counter() - self._began
        return {"losses": self._losses, "steps": self._steps, "waited": self._waited, "seconds": seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._losses, self._steps, self._waited = state["losses"], state["steps"], state["waited"]
        self._ended_last_step = time.perf_counter()
        self._began = self._ended_last_step - state["seconds"]

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def losses(self) -> list[list[float]]:
        """Mean by stage and level."""
        means: list[list[float]] = (torch.as_tensor(self._losses) / self._steps).tolist()
        return means

    @property
    def loss(self) -> float:
        """Mean of the total."""
        return sum(map(sum, self.losses))

    @property
    def samples_per_second(self) -> float:
        return self._steps * self._batch_size / self.seconds

    @property
    def waiting_share(self) -> float:
        return self._waited / self.seconds


def peak_memory_mib(device: torch.device) -> float:
    """Most memory that this process has held so far: of its GPU, else of the machine; 0 where the system hides it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return 0.0
    import resource  # noqa: PLC0415 (there is none on Windows)

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_FOLDER = "tensorboard"


class TensorBoardLog:
    """The folder `tensorboard` of a run folder, with the rows of the metrics as curves over iterations."""

    def __init__(self, run: Path, iteration: int) -> None:
        """Open the log; curves after `iteration` are dropped, since training redoes those.

        At the start of a run the sheet of training crops is written too, if it is in the run folder.

        Raises:
            ValueError: if TensorBoard is not installed.
        """
        self._writer = _open_writer(run / _FOLDER, iteration)
        if iteration == 0 and (run / SHEET_FILE).is_file():
            self._writer.add_image("crops", read_image(run / SHEET_FILE), 1, dataformats="HWC")

    def append(self, row: TrainingMetrics) -> None:
        values = {
            "loss/total": row.loss,
            "learning_rate": row.learning_rate,
            "speed/samples_per_second": row.samples_per_second,
            "speed/waiting_share": row.waiting_share,
            "memory_mib": row.memory_mib,
        }
        for stage, levels in enumerate(row.losses, start=1):
            for level, loss in enumerate(levels, start=1):
                values[f"loss_stage_{stage}/level_{level}"] = loss
        for name, value in (row.validation or {}).items():
            values[f"validation/{name}"] = value
        for name, value in values.items():
            self._writer.add_scalar(name, value, row.iteration)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _open_writer(folder: Path, iteration: int) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # an extra, needed here alone
    except ImportError as error:
        raise InvalidValueError(
            "TensorBoard is not installed; pip install 'mspn[log]', or leave train.tensorboard off"
        ) from error
    return SummaryWriter(str(folder), purge_step=iteration + 1)


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
