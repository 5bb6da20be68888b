"""Files that predictions are written to, one module a format."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mspn.predict.pipeline import PictureResult
from mspn.predict.writers.coco import CocoWriter
from mspn.predict.writers.csv_file import CsvWriter
from mspn.predict.writers.drawn_pictures import ImageWriter
from mspn.predict.writers.drawn_videos import VideoWriter
from mspn.predict.writers.json_files import JsonLinesWriter, JsonWriter
from mspn.predict.writers.parquet import ParquetWriter
from mspn.predict.writers.yolo import YoloWriter
from mspn.themes import DEFAULT_THEME, Theme


class Writer(Protocol):
    """Takes results one by one; `close` must be called, also after an error, so that nothing is lost."""

    def write(self, result: PictureResult) -> None: ...

    def close(self) -> None: ...


DRAWING_WRITERS: dict[str, Callable[[Path, Theme], Writer]] = {"images": ImageWriter, "video": VideoWriter}
"""Those that need the pixels of what they are given."""

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
