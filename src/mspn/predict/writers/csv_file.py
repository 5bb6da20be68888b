"""A table as text."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from mspn.predict.pipeline import PictureResult
from mspn.predict.table import KeypointRow, list_keypoints
from mspn.predict.writers.row_file import RowFile


class CsvWriter:
    """`predictions.csv`: a row for each keypoint, see `KeypointRow`; a picture is on the disk before the next one."""

    def __init__(self, folder: Path) -> None:
        self._rows = RowFile(folder / "predictions.csv")
        self._rows.append(_as_text([KeypointRow._fields]))

    def write(self, result: PictureResult) -> None:
        self._rows.append(_as_text(list_keypoints(result)))

    def close(self) -> None:
        self._rows.close()


def _as_text(rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()
