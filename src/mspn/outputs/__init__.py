"""Writers of predictions, one module per format."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mspn.outputs.coco import CocoWriter
from mspn.outputs.images import ImageWriter
from mspn.outputs.json import JsonLinesWriter, JsonWriter
from mspn.outputs.tables import CsvWriter, ParquetWriter
from mspn.outputs.video import VideoWriter
from mspn.outputs.yolo import YoloWriter
from mspn.predict.pipeline import ImageResult
from mspn.visualize.themes import DEFAULT_THEME, Theme


class Writer(Protocol):
    """Writes results one by one; call `close` in the end, also after an error, so that nothing is lost."""

    def write(self, result: ImageResult) -> None: ...

    def close(self) -> None: ...


DRAWING_WRITERS: dict[str, Callable[[Path, Theme], Writer]] = {"images": ImageWriter, "video": VideoWriter}
"""Writers that need the pixels of the results."""

WRITERS: dict[str, Callable[[Path], Writer]] = {
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
    "coco": CocoWriter,
    "csv": CsvWriter,
    "parquet": ParquetWriter,
    "yolo": YoloWriter,
    "images": ImageWriter,
    "video": VideoWriter,
}


def make_writer(name: str, folder: Path, theme: Theme = DEFAULT_THEME) -> Writer:
    """The writer of that name, into a folder; those that draw use the theme."""
    return DRAWING_WRITERS[name](folder, theme) if name in DRAWING_WRITERS else WRITERS[name](folder)
