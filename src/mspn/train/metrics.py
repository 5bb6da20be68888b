"""A line per epoch, for people (CSV) and programs (JSON Lines)."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mspn.files import replacing


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
