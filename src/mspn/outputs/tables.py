"""Poses as tables with a row for each keypoint: CSV and Parquet."""

import csv
import io
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mspn.errors import InvalidValueError
from mspn.io.extras import import_extra
from mspn.io.files import explain_failures, replacing
from mspn.outputs.rows import TEXT_COLUMNS, WHOLE_NUMBER_COLUMNS, KeypointRow, RowFile, list_keypoints
from mspn.predict.pipeline import ImageResult


class CsvWriter:
    """`predictions.csv`: a row for each keypoint, see `KeypointRow`; an image is on the disk before the next one."""

    def __init__(self, folder: Path) -> None:
        self._rows = RowFile(folder / "predictions.csv")
        self._rows.append(_as_text([KeypointRow._fields]))

    def write(self, result: ImageResult) -> None:
        self._rows.append(_as_text(list_keypoints(result)))

    def close(self) -> None:
        self._rows.close()


def _as_text(rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([quote_formula(cell) for cell in row] for row in rows)
    return text.getvalue()


_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


def quote_formula(cell: object) -> object:
    """Text with an apostrophe before what spreadsheets would take for a formula; names come from anyone."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_SIGNS) else cell


def unquote_formula(cell: str) -> str:
    """Text as it was before `quote_formula`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_SIGNS) else cell


def import_pyarrow(needed_by: str) -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet.

    Raises:
        InvalidValueError: if pyarrow is not installed; it begins with what needs it.
    """
    missing = InvalidValueError(f"{needed_by} needs pyarrow; pip install 'mspn[parquet]', or save csv")
    return import_extra("pyarrow", missing), import_extra("pyarrow.parquet", missing)


_ROWS_PER_GROUP = 20_000
"""As many wait in memory."""


class ParquetWriter:
    """`predictions.parquet`: the rows of `predictions.csv`, in groups, put in its place at the end.

    Raises:
        InvalidValueError: if pyarrow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._pyarrow, parquet = import_pyarrow("--save parquet")
        self._path = folder / "predictions.parquet"
        self._schema = self._pyarrow.schema([(name, self._column_type(name)) for name in KeypointRow._fields])
        self._rows: list[KeypointRow] = []
        self._open = ExitStack()
        temporary = self._open.enter_context(replacing(self._path))
        self._file: Any = self._open.enter_context(parquet.ParquetWriter(str(temporary), self._schema))

    def write(self, result: ImageResult) -> None:
        self._rows += list_keypoints(result)
        if len(self._rows) >= _ROWS_PER_GROUP:
            with explain_failures(self._path):
                self._write_group()

    def close(self) -> None:
        with explain_failures(self._path), self._open:
            if self._rows:
                self._write_group()

    def _write_group(self) -> None:
        rows, self._rows = self._rows, []
        columns = [
            self._pyarrow.array(values, field.type)
            for values, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._file.write_batch(self._pyarrow.record_batch(columns, schema=self._schema))

    def _column_type(self, name: str) -> Any:
        if name in TEXT_COLUMNS:
            return self._pyarrow.string()
        return self._pyarrow.int64() if name in WHOLE_NUMBER_COLUMNS else self._pyarrow.float64()
