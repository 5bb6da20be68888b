"""A line per epoch, for people (CSV) and programs (JSON Lines)."""

import csv
import json
from pathlib import Path
from typing import NamedTuple


class EpochMetrics(NamedTuple):
    """What an epoch was like."""

    epoch: int
    iteration: int
    loss: float
    finest_loss: float
    """The last stage's part at the finest level."""
    learning_rate: float
    people_per_second: float
    waiting_share: float
    """Share of the time spent waiting for data, 0 to 1."""
    seconds: float
    """Since training began, over all sessions."""


class MetricsLog:
    """`metrics.csv` and `metrics.jsonl` of a run folder."""

    def __init__(self, run: Path, iteration: int) -> None:
        """Open the log; lines of iterations after `iteration` are dropped, since training redoes those."""
        self._csv = run / "metrics.csv"
        self._jsonl = run / "metrics.jsonl"
        kept = [line for line in read_metrics(run) if line.iteration <= iteration] if iteration else []
        with self._csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(EpochMetrics._fields)
        self._jsonl.write_text("", encoding="utf-8")
        for line in kept:
            self.append(line)

    def append(self, line: EpochMetrics) -> None:
        with self._csv.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(line)
        with self._jsonl.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line._asdict()) + "\n")


def read_metrics(run: Path) -> list[EpochMetrics]:
    """The lines of a run folder's metrics.jsonl; none where there is no such file."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    return [EpochMetrics(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
