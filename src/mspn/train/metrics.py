"""A line per epoch, for people (CSV) and programs (JSON Lines)."""

import csv
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from mspn.files import replacing
from mspn.loss import StageLosses


class EpochMetrics(NamedTuple):
    """What an epoch was like."""

    epoch: int
    iteration: int
    loss: float
    losses: list[list[float]]
    """Its weighted parts: stages, each a list of levels from fine to coarse."""
    learning_rate: float
    people_per_second: float
    waiting_share: float
    """Share of the time spent waiting for data, 0 to 1."""
    memory_mib: float
    """Most that the process has had so far: of the GPU where it trains on one, else of the machine."""
    seconds: float
    """Since training began, over all sessions."""
    validation: dict[str, float] | None = None
    """COCO's ten numbers by name; None after epochs that are not validated."""


class MetricsLog:
    """`metrics.csv` and `metrics.jsonl` of a run folder."""

    def __init__(self, run: Path, iteration: int) -> None:
        """Open the log; lines of iterations after `iteration` are dropped, since training redoes those."""
        self._csv = run / "metrics.csv"
        self._jsonl = run / "metrics.jsonl"
        kept = [line for line in read_metrics(run) if line.iteration <= iteration] if iteration else []
        with replacing(self._csv) as csv_path, replacing(self._jsonl) as jsonl_path:
            _append(csv_path, jsonl_path, kept, header=True)

    def append(self, line: EpochMetrics) -> None:
        _append(self._csv, self._jsonl, [line], header=False)


def _append(csv_path: Path, jsonl_path: Path, lines: Sequence[EpochMetrics], *, header: bool) -> None:
    with csv_path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([EpochMetrics._fields] * header + list(lines))
    with jsonl_path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line._asdict()) + "\n" for line in lines)


def read_metrics(run: Path) -> list[EpochMetrics]:
    """The lines of a run folder's metrics.jsonl; none where there is no such file.

    What a crash cut short in the middle of a line does not count.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    whole_lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [EpochMetrics(**json.loads(line)) for line in whole_lines]


class EpochMeter:
    """Averages since the epoch began (or since training resumed)."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._restart()

    def _restart(self) -> None:
        self._began = self._ended_last_step = time.monotonic()
        self._waited = self._loss = 0.0
        self._losses = torch.zeros(())
        self._steps = 0

    def data_arrived(self) -> None:
        self._waited += time.monotonic() - self._ended_last_step

    def step_done(self, total: float, losses: StageLosses) -> None:
        """Count an iteration; `total` is the loss's total, already brought over from the device."""
        self._loss += total
        self._losses = self._losses + losses.by_stage_and_level.cpu()
        self._steps += 1
        self._ended_last_step = time.monotonic()

    def finish_epoch(self, epoch: int, iteration: int, rate: float, seconds: float) -> EpochMetrics:
        elapsed = time.monotonic() - self._began
        line = EpochMetrics(
            epoch=epoch,
            iteration=iteration,
            loss=self._loss / self._steps,
            losses=(self._losses / self._steps).tolist(),
            learning_rate=rate,
            people_per_second=self._steps * self._batch_size / elapsed,
            waiting_share=self._waited / elapsed,
            memory_mib=_peak_memory_mib(),
            seconds=seconds,
        )
        self._restart()
        return line


def _peak_memory_mib() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
