"""Rows of keypoints, and files that grow row by row, which several writers share."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mspn.io.files import explain_failures
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
