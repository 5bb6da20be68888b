"""Poses as JSON: one list, or a line for each image."""

import json
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from mspn.io.files import explain_failures, replacing
from mspn.outputs.rows import JsonListFile, RowFile, round_seconds
from mspn.predict.pipeline import ImageResult


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
