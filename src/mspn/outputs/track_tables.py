"""Tables of tracks, tracks.csv and tracks.parquet: a row for each keypoint of each person in each frame.

The tracks of a video are read from them, or from the results of `mspn predict`.
"""

import csv
import json
import logging
import math
from array import array
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from mspn.errors import MissingFileError, TracksError, one_line, reason
from mspn.io.files import replacing
from mspn.outputs.tables import import_pyarrow, quote_formula, round_seconds, unquote_formula
from mspn.structures.pose import round_coordinates, round_score
from mspn.structures.settings import first_problem
from mspn.structures.shapes import Float
from mspn.structures.skeleton import SKELETONS, Skeleton
from mspn.tracking.tracks import Track, VideoTracks

logger = logging.getLogger(__name__)

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


_PREDICTIONS = ("predictions.jsonl", "predictions.json")
_MAX_LINE_BYTES = 2**26
_MAX_KEYPOINTS = 1000
_MAX_NAMED = 5
_MAX_SECONDS = 1e8
"""Three years; in far more, floats cannot tell frames apart."""
_MIN_SECONDS = 1e-3
"""Between frames whose time stamps do not rise."""


class _Person(BaseModel):
    track_id: int | None = None
    keypoints: dict[str, tuple[float, float, float]]


class _Frame(BaseModel):
    """A line of `predictions.jsonl`, without the source, whose name may hold bytes that are no text."""

    frame: int | None = None
    seconds: float = Field(0.0, allow_inf_nan=False)
    people: tuple[_Person, ...]


def read_tracks(path: Path | str, source: str | None = None, track_ids: Collection[int] = ()) -> VideoTracks:
    """Read the tracks of one video, row by row; a keypoint takes some 100 bytes of memory, whatever the file.

    >>> import mspn, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pathlib.Path(folder) / "tracks.csv"
    ...     written = table.write_text("frame,seconds,track,keypoint,x,y,score,filled\\n0,0.0,3,nose,10,20,0.9,0\\n")
    ...     video = mspn.read_tracks(folder)
    >>> video.tracks[0].track_id, video.tracks[0].keypoints.tolist()
    (3, [[[10.0, 20.0]]])

    Args:
        path: a folder that `mspn predict` or `mspn tracks` has written, or one of its files: predictions.jsonl,
            predictions.json, tracks.csv, tracks.parquet. Of a folder, predictions are read, else its latest table.
        source: the video, or the name of its file, where predictions are of several.
        track_ids: of the tracks to read; none: all.

    Raises:
        TracksError: if the file does not hold what it should, or several videos, or a track is not there, or nobody
            was followed.
        InvalidValueError: if pyarrow is needed and not installed.
        MissingFileError: if there is no such file or folder.
    """
    path = _find_file(Path(path))
    table = _Table(path, frozenset(track_ids))
    try:
        if path.suffix in (".jsonl", ".json"):
            _read_predictions(path, table, source)
        else:
            for row in read_table(path):
                table.note_frame(row.frame, row.seconds)
                table.add(row)
    except OverflowError as error:
        raise TracksError(f"{path} has a number that no frame or track has; write it anew") from error
    return table.split()


def _find_file(path: Path) -> Path:
    names = (*_PREDICTIONS, *TABLE_FILES.values())
    if path.is_dir():
        predictions = [path / name for name in _PREDICTIONS if (path / name).is_file()]
        tables = [path / name for name in TABLE_FILES.values() if (path / name).is_file()]
        if not predictions and not tables:
            raise MissingFileError(
                f"no {' nor '.join(names)} in {path}; name a folder that mspn predict --save jsonl has written"
            )
        # Tables may be of predictions that were there before.
        return predictions[0] if predictions else max(tables, key=lambda table: table.stat().st_mtime_ns)
    if not path.is_file():
        raise MissingFileError(f"no file or folder at {path}; name one that mspn predict has written")
    if path.suffix not in {PurePath(name).suffix for name in names}:
        raise TracksError(f"{path} has no tracks; name a folder or {', '.join(names)}")
    return path


def _read_predictions(path: Path, table: "_Table", source: str | None) -> None:
    """Add the people of a video, the only one of the file or the one that is named."""
    has_people = False
    for name, frame in _list_frames(path):
        if frame.frame is None or (source is not None and source not in (name, PurePath(name).name)):
            continue
        if table.source not in ("", name):
            raise TracksError(f"{path} is of several videos, such as {table.source} and {name}; choose one by --source")
        table.source = name
        table.note_frame(frame.frame, frame.seconds)
        has_people = has_people or bool(frame.people)
        for person in frame.people:
            if person.track_id is not None:
                for keypoint, (x, y, score) in person.keypoints.items():
                    table.add(TrackRow(frame.frame, frame.seconds, person.track_id, keypoint, x, y, score, False))
    if not table.source:
        wanted = "a video" if source is None else repr(source)
        raise TracksError(f"{path} has no results of {wanted}; tracks are of people in videos")
    if has_people and not table.has_tracks:
        raise TracksError(f"the people in {path} have no track ids; predict the video again, without --no-track")


def _list_frames(path: Path) -> Iterator[tuple[str, _Frame]]:
    """Sources and frames of predictions.jsonl, or of predictions.json, which has one a line too."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE_BYTES):
            number += 1
            text = line.strip().rstrip(b",")
            if text in (b"", b"[", b"]", b"[]"):
                continue
            try:
                content = json.loads(text)
                source = content.pop("source")
                yield source, _Frame.model_validate(content)
            except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
                if not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
                    logger.warning("%s: its last line was cut short; mspn predict --resume finishes it", path)
                    return
                problem = first_problem(error) if isinstance(error, ValidationError) else one_line(str(error))
                raise TracksError(f"{path}, line {number}, is no result of mspn predict ({problem})") from error


class _Table:
    """Rows in any order, in little memory, until they are split into tracks."""

    def __init__(self, path: Path, track_ids: frozenset[int]) -> None:
        self.source = ""
        self._path = path
        self._wanted = track_ids
        self._others: set[int] = set()
        self._names: dict[str, int] = {}
        self._seconds: dict[int, float] = {}
        self._tracks, self._frames, self._keypoints = array("q"), array("q"), array("h")
        self._values, self._filled = array("f"), array("b")

    @property
    def has_tracks(self) -> bool:
        """Whether there was any row, also of tracks that are not wanted."""
        return bool(self._tracks or self._others)

    def note_frame(self, frame: int, seconds: float) -> None:
        """Say that the video has this frame at that time."""
        if not abs(seconds) <= _MAX_SECONDS:  # nor if that is no number
            raise TracksError(f"{self._path} has frame {frame} at {seconds} seconds, which is no time; write it anew")
        self._seconds.setdefault(frame, seconds)

    def add(self, row: TrackRow) -> None:
        if self._wanted and row.track not in self._wanted:
            self._others.add(row.track)
            return
        index = self._names.setdefault(row.keypoint, len(self._names))
        if index >= _MAX_KEYPOINTS:
            raise TracksError(f"{self._path} names more than {_MAX_KEYPOINTS} keypoints; skeletons have fewer")
        self._tracks.append(row.track)
        self._frames.append(row.frame)
        self._keypoints.append(index)
        self._values.extend(np.nan if value is None else value for value in (row.x, row.y, row.score))
        self._filled.append(row.filled)

    def split(self) -> VideoTracks:
        track_ids, owners = np.unique(np.array(self._tracks), return_inverse=True)
        missing = sorted(self._wanted - set(track_ids.tolist()))
        if missing:
            there = _enumerate(sorted({*track_ids.tolist(), *self._others}))
            raise TracksError(f"no track {_enumerate(missing)} in {self._path}; it has {there or 'none'}")
        if not len(track_ids):
            raise TracksError(f"nobody was followed in {self.source or self._path}; there are no tracks")
        frames = np.array(sorted(self._seconds))
        seconds = rising_seconds(
            np.array([self._seconds[frame] for frame in frames.tolist()]), self.source or self._path
        )
        skeleton = _skeleton_of(tuple(self._names))
        columns = np.array([skeleton.keypoints.index(name) for name in self._names])[np.array(self._keypoints)]
        places = np.searchsorted(frames, np.array(self._frames))
        values = np.frombuffer(self._values, np.float32).reshape(-1, 3)
        filled = np.frombuffer(self._filled, bool)
        tracks = []
        owned = np.split(np.argsort(owners, kind="stable"), np.cumsum(np.bincount(owners))[:-1])
        for track_id, rows in zip(track_ids.tolist(), owned, strict=True):
            chosen, positions = np.unique(places[rows], return_inverse=True)
            shape, cells = (len(chosen), len(skeleton.keypoints)), (positions, columns[rows])
            counts = np.zeros(shape, int)
            np.add.at(counts, cells, 1)
            if counts.max() > 1:
                frame = frames[chosen[counts.max(1).argmax()]]
                raise TracksError(f"{self._path} has track {track_id} twice in frame {frame}; write it anew")
            points, scores, is_filled = np.full((*shape, 2), np.nan), np.zeros(shape), np.zeros(shape, bool)
            points[cells] = np.where(np.isfinite(values[rows, :2]).all(-1, keepdims=True), values[rows, :2], np.nan)
            scores[cells], is_filled[cells] = np.nan_to_num(values[rows, 2]), filled[rows]
            tracks.append(Track(track_id, frames[chosen], seconds[chosen], points, scores, is_filled))
        return VideoTracks(self.source, skeleton, frames, seconds, tuple(tracks))


def _enumerate(track_ids: Collection[int]) -> str:
    names = list(map(str, track_ids))
    return ", ".join(names if len(names) <= _MAX_NAMED else [*names[: _MAX_NAMED - 1], "...", names[-1]])


def rising_seconds(seconds: Float[np.ndarray, " N"], name: object) -> Float[np.ndarray, " N"]:
    """Time stamps of which each comes after the one before; damaged videos have others."""
    if (np.diff(seconds) > 0).all():
        return seconds
    logger.warning("%s: time stamps of frames do not rise; those that do not come a millisecond after the last", name)
    steps = _MIN_SECONDS * np.arange(len(seconds))
    return np.asarray(np.maximum.accumulate(seconds - steps) + steps)


def _skeleton_of(names: tuple[str, ...]) -> Skeleton:
    """The known skeleton with these keypoints, or one without limbs."""
    known = (skeleton for skeleton in SKELETONS.values() if set(skeleton.keypoints) == set(names))
    return next(known, None) or Skeleton(name="tracked", keypoints=names)
