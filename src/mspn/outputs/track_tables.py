"""Tables of tracks, tracks.csv and tracks.parquet: a row for each keypoint of each person in each frame."""

import csv
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mspn.errors import TracksError, one_line, reason
from mspn.io.files import replacing
from mspn.outputs.rows import round_seconds
from mspn.outputs.tables import import_pyarrow, quote_formula, unquote_formula
from mspn.structures.pose import round_coordinates, round_score
from mspn.tracking.tracks import Track, VideoTracks

TABLE_FILES = {"csv": "tracks.csv", "parquet": "tracks.parquet"}
_ROWS_PER_GROUP = 50_000
"""As many wait in memory."""


class TrackRow(NamedTuple):
    """One keypoint of one person in one frame."""

    frame: int
    seconds: float
    track: int
    keypoint: str
    x: float | None
    """As y in image pixels; None where the keypoint is missing."""
    y: float | None
    score: float
    filled: bool
    """Whether smoothing put it into a gap."""


_OPTIONAL_COLUMNS = ("x", "y", "score")
"""Whose values may be missing."""
_PYARROW_TYPES = ("int64", "float64", "int64", "string", "float64", "float64", "float64", "bool_")
"""Of the columns."""


def write_table(video: VideoTracks, folder: Path, table_format: str) -> Path:
    """Write the tracks of a video, one after the other, into `tracks.csv` or `tracks.parquet`.

    Args:
        video: whose tracks to write.
        folder: of the table.
        table_format: csv or parquet.

    Returns:
        The table's path.

    Raises:
        InvalidValueError: if pyarrow is needed and not installed.
        OSError: if there is no room.
    """
    path = folder / TABLE_FILES[table_format]
    if table_format == "csv":
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(TrackRow._fields)
            for *values, filled in _list_rows(video):
                writer.writerow([*map(quote_formula, values), int(filled)])
    else:
        pyarrow, parquet = import_pyarrow(TABLE_FILES[table_format])
        schema = pyarrow.schema(
            [(name, getattr(pyarrow, kind)()) for name, kind in zip(TrackRow._fields, _PYARROW_TYPES, strict=True)]
        )
        rows = _list_rows(video)
        with replacing(path) as temporary, parquet.ParquetWriter(str(temporary), schema) as file:
            while group := list(islice(rows, _ROWS_PER_GROUP)):
                file.write_table(pyarrow.table(list(zip(*group, strict=True)), schema=schema))
    return path


def _list_rows(video: VideoTracks) -> Iterator[TrackRow]:
    for track in video.tracks:
        yield from _list_track(track, video.skeleton.keypoints)


def _list_track(track: Track, names: tuple[str, ...]) -> Iterator[TrackRow]:
    for frame, seconds, *rows in zip(
        track.frames.tolist(), track.seconds.tolist(), track.keypoints, track.scores, track.filled, strict=True
    ):
        values = zip(names, *(row.tolist() for row in rows), strict=True)
        for name, (x, y), score, filled in values:
            column, row = (None, None) if math.isnan(x) else round_coordinates(x, y)
            yield TrackRow(frame, round_seconds(seconds), track.track_id, name, column, row, round_score(score), filled)


def read_table(path: Path) -> Iterator[TrackRow]:
    """The rows of a table, whatever their order.

    Raises:
        TracksError: if it is no such table, or a value cannot be read.
        InvalidValueError: if pyarrow is needed and not installed.
    """
    return _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)


def _read_csv(path: Path) -> Iterator[TrackRow]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        try:
            _check_columns(path, reader.fieldnames or ())
            for row in reader:
                yield TrackRow(
                    frame=int(row["frame"]),
                    seconds=float(row["seconds"]),
                    track=int(row["track"]),
                    keypoint=unquote_formula(row["keypoint"]),
                    x=float(row["x"]) if row["x"] else None,
                    y=float(row["y"]) if row["y"] else None,
                    score=float(row["score"] or 0),
                    filled=row["filled"].strip().casefold() in ("1", "true"),
                )
        except TracksError:
            raise
        except (ValueError, TypeError, AttributeError, csv.Error) as error:
            raise TracksError(f"{path}, line {reader.line_num}: {one_line(str(error))}; mend it") from error


def _read_parquet(path: Path) -> Iterator[TrackRow]:
    pyarrow, parquet = import_pyarrow(path.name)
    try:
        file = parquet.ParquetFile(path)
        _check_columns(path, file.schema_arrow.names)
        for batch in file.iter_batches(_ROWS_PER_GROUP, columns=list(TrackRow._fields)):
            for name in TrackRow._fields:
                if name not in _OPTIONAL_COLUMNS and batch.column(name).null_count:
                    raise TracksError(f"{path} has a row without {name}; write it anew")
            columns = [
                batch.column(name).cast(getattr(pyarrow, kind)()).to_pylist()
                for name, kind in zip(TrackRow._fields, _PYARROW_TYPES, strict=True)
            ]
            yield from map(TrackRow._make, zip(*columns, strict=True))
    except TracksError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise TracksError(f"{path} cannot be read as Parquet ({reason(error)}); write it anew") from error


def _check_columns(path: Path, names: Any) -> None:
    missing = [name for name in TrackRow._fields if name not in names]
    if missing:
        raise TracksError(
            f"{path} is no table of tracks: it has no column {', '.join(missing)}; see mspn tracks smooth"
        )
