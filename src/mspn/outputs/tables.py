"""Rows of keypoints, and files that grow row by row: CSV, Parquet, and JSON as one list or a line for each image."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from mspn.errors import InvalidValueError, import_extra
from mspn.io.files import explain_failures, replacing
from mspn.predict.pipeline import ImageResult
from mspn.structures.pose import Pose, round_coordinates, round_score

_SECONDS_DIGITS = 6


def round_seconds(seconds: float) -> float:
    """To a microsecond: finer than the time stamps of any video."""
    return round(seconds, _SECONDS_DIGITS)


class KeypointRow(NamedTuple):
    """One keypoint of one person in an image."""

    source: str
    frame: int | None
    """Number in its video from 0 on; None in an image."""
    seconds: float | None
    """Time stamp in its video; None in an image."""
    person: int | None = None
    """Index in the image, from 0, best first; None, as all that follows, in the one row of an image without people."""
    track_id: int | None = None
    """Number in the video, the same in all its frames; None if people were not tracked."""
    person_score: float | None = None
    box_left: float | None = None
    box_top: float | None = None
    box_width: float | None = None
    box_height: float | None = None
    box_score: float | None = None
    keypoint: str | None = None
    x: float | None = None
    """As y and the box in image pixels."""
    y: float | None = None
    score: float | None = None


TEXT_COLUMNS = ("source", "keypoint")
WHOLE_NUMBER_COLUMNS = ("frame", "person", "track_id")
"""The other columns are floats."""


def list_keypoints(result: ImageResult) -> Iterator[KeypointRow]:
    """Rows of the keypoints of all people in an image: one of its own without people, none if it could not be read."""
    if result.image is None:
        return
    frame = result.image.frame
    number, seconds = (None, None) if frame is None else (frame.index, round_seconds(frame.seconds))
    # Names of files need not be UTF-8, tables are.
    image = KeypointRow(result.source.encode(errors="backslashreplace").decode(), number, seconds)
    yield from list_pose_keypoints(result.poses, image) if result.poses else [image]


def list_pose_keypoints(poses: Sequence[Pose], image: KeypointRow) -> Iterator[KeypointRow]:
    """Rows of the keypoints of all people in an image; `image` is a row that says which it is."""
    for person, pose in enumerate(poses):
        score, box_score = round_score(pose.score), round_score(pose.box_score)
        box = round_coordinates(*pose.box)
        for name, (x, y, keypoint_score) in pose.keypoints.items():
            values = (*box, box_score, name, *round_coordinates(x, y), round_score(keypoint_score))
            yield KeypointRow._make((image.source, image.frame, image.seconds, person, pose.track_id, score, *values))


class RowFile:
    """A file that is written row by row, unbuffered; a row that does not fit on the disk is removed again."""

    def __init__(self, path: Path, final_path: Path | None = None) -> None:
        """Start an empty file.

        Args:
            path: of the file.
            final_path: what it will be called, for errors; None: the same.
        """
        self._final_path = final_path or path
        with explain_failures(self._final_path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)

    def append(self, text: str) -> None:
        """Add text at the end.

        Raises:
            OSError: if there is no room for it.
        """
        remaining = memoryview(text.encode())
        start = self._file.tell()
        with explain_failures(self._final_path):
            try:
                while remaining:
                    remaining = remaining[self._file.write(remaining) :]
            except OSError:
                self._file.truncate(start)
                self._file.seek(start)
                raise

    def close(self) -> None:
        self._file.close()


class JsonListFile:
    """A JSON list that is written value by value, one a line."""

    def __init__(self, path: Path, final_path: Path) -> None:
        """Start an empty list; arguments as those of `RowFile`."""
        self._rows = RowFile(path, final_path)
        self._is_empty = True

    def append(self, value: Any) -> None:
        """Add a value that JSON can hold.

        Raises:
            OSError: if there is no room for it.
        """
        self._rows.append(("[\n" if self._is_empty else ",\n") + json.dumps(value))
        self._is_empty = False

    def close(self) -> None:
        """End the list.

        Raises:
            OSError: if there is no room for that.
        """
        try:
            self._rows.append("[]\n" if self._is_empty else "\n]\n")
        finally:
            self._rows.close()


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


class JsonWriter:
    """`predictions.json`: a list over images and frames, written as it grows and put in its place at the end."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "predictions.json"
        self._open = ExitStack()
        temporary = self._open.enter_context(replacing(self._path))
        self._list = self._open.enter_context(closing(JsonListFile(temporary, self._path)))

    def write(self, result: ImageResult) -> None:
        if result.image is not None:
            self._list.append(describe_result(result))

    def close(self) -> None:
        with explain_failures(self._path):
            self._open.close()


class JsonLinesWriter:
    """`predictions.jsonl`: the same objects, each on a line that is on the disk before the next image."""

    def __init__(self, folder: Path) -> None:
        self._rows = RowFile(folder / "predictions.jsonl")

    def write(self, result: ImageResult) -> None:
        if result.image is not None:
            self._rows.append(json.dumps(describe_result(result)) + "\n")

    def close(self) -> None:
        self._rows.close()


def describe_result(result: ImageResult) -> dict[str, Any]:
    """An image that could be read, and its people, as an entry of `predictions.json`."""
    assert result.image is not None
    frame, size = result.image.frame, result.image.size
    frame_fields = {} if frame is None else {"frame": frame.index, "seconds": round_seconds(frame.seconds)}
    people = [pose.to_dict() for pose in result.poses]
    return {"source": result.source, **frame_fields, "width": size.width, "height": size.height, "people": people}
