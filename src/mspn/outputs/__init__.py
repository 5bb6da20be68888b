"""Writers of predictions, one module per format."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from mspn.errors import InvalidValueError
from mspn.io.files import remove_leftovers
from mspn.outputs.coco import CocoWriter
from mspn.outputs.drawings import ImageWriter, VideoWriter
from mspn.outputs.journal import JOURNAL_FILE, JournalReader, has_images
from mspn.outputs.json import JsonLinesWriter, JsonWriter
from mspn.outputs.tables import CsvWriter, ParquetWriter
from mspn.outputs.yolo import YoloWriter
from mspn.predict.pipeline import ImageResult
from mspn.sources.resolve import WHOLE, Shard
from mspn.visualize.themes import DEFAULT_THEME, Theme


class Writer(Protocol):
    """Writes results one by one; call `close` in the end, also after an error, so that nothing is lost."""

    def write(self, result: ImageResult) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class WriterSettings:
    """What writers need to know of a run."""

    source_folder: Path | None = None
    """What names of files are relative to, see `mspn.outputs.names.common_folder`; None: they have none."""
    theme: Theme = DEFAULT_THEME
    image_ids: Mapping[str, int] | None = None
    """Of an annotation file, by file name, for COCO results."""
    shard: Shard = WHOLE


class WriterEntry(NamedTuple):
    """How a writer is made, and what it writes."""

    make: Callable[[Path, WriterSettings], Writer]
    paths: tuple[str, ...]
    """Files and folders that are the writer's own, in the folder of results."""


WRITERS: dict[str, WriterEntry] = {
    "json": WriterEntry(lambda folder, _: JsonWriter(folder), ("predictions.json",)),
    "jsonl": WriterEntry(lambda folder, _: JsonLinesWriter(folder), ("predictions.jsonl",)),
    "coco": WriterEntry(
        lambda folder, run: CocoWriter(folder, run.source_folder, run.image_ids, run.shard), ("coco.json",)
    ),
    "csv": WriterEntry(lambda folder, _: CsvWriter(folder), ("predictions.csv",)),
    "parquet": WriterEntry(lambda folder, _: ParquetWriter(folder), ("predictions.parquet",)),
    "yolo": WriterEntry(lambda folder, run: YoloWriter(folder, run.source_folder), ("yolo/labels", "yolo/data.yaml")),
    "images": WriterEntry(lambda folder, run: ImageWriter(folder, run.theme, run.source_folder), ("images",)),
    "video": WriterEntry(lambda folder, run: VideoWriter(folder, run.theme, run.source_folder), ("videos",)),
}

DRAWING_WRITERS = ("images", "video")
"""Writers that need the pixels of the results."""


def make_writer(name: str, folder: Path, settings: WriterSettings = WriterSettings()) -> Writer:
    """The writer of that name, into a folder.

    Raises:
        ValueError: if there is none; the folder's journal may name it.
    """
    if name not in WRITERS:
        raise InvalidValueError(
            f"no output {name!r}, of --save or {folder / JOURNAL_FILE}; there are {', '.join(WRITERS)}"
        )
    return WRITERS[name].make(folder, settings)


def has_results(folder: Path) -> bool:
    """Whether a folder has results of a run: images in its journal, or files that are named as results are."""
    if (folder / JOURNAL_FILE).is_file():
        return has_images(folder)
    paths = (folder / path for writer in WRITERS.values() for path in writer.paths)
    return any(path.is_file() for path in paths)


def remove_results(folder: Path) -> None:
    """Remove what the runs that a folder's journal tells of have written there, and the journal last.

    Raises:
        ValueError: if the file is not a journal.
        OSError: if something cannot be removed.
    """
    journal = folder / JOURNAL_FILE
    outputs = JournalReader(folder).outputs if journal.is_file() else ()
    for name, writer in WRITERS.items():
        for path in (folder / part for part in writer.paths):
            if path.is_dir() and not path.is_symlink():
                # Without a journal, a folder of that name may be anybody's.
                if name in outputs:
                    shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    journal.unlink(missing_ok=True)


def prepare_results(out: Path, sources: Sequence[str], *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that holds results of another run, or remove them; clear away what a killed run has left.

    Raises:
        ValueError: for results that are neither to be continued nor removed, or that are a source of this run.
        OSError: if something cannot be removed.
    """
    folders = [out / path for writer in WRITERS.values() for path in writer.paths]
    if not (resume and (out / JOURNAL_FILE).is_file()):
        if has_results(out) and not overwrite:
            raise InvalidValueError(
                f"{out} already holds results; --resume goes on with them where {JOURNAL_FILE} is there, --overwrite"
                " removes them first; or choose another --out"
            )
        for source in sources if (out / JOURNAL_FILE).is_file() else ():
            if any(Path(source).resolve().is_relative_to(folder.resolve()) for folder in folders):
                raise InvalidValueError(f"{source} is among the results in {out}; choose another --out")
        remove_results(out)
    remove_leftovers(out)
    for folder in folders:
        for subfolder in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            remove_leftovers(subfolder)
