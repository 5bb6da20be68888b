"""Writers of predictions by the format, and joining the results of several runs, such as the shards of one."""

import heapq
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

from mspn.errors import InvalidValueError, MissingFileError
from mspn.io.files import explain_failures, locked_folder, remove_leftovers
from mspn.outputs.annotations import CocoWriter, YoloWriter
from mspn.outputs.drawings import ImageWriter, VideoWriter
from mspn.outputs.journal import JOURNAL_FILE, Journal, JournalReader, has_images, read_outputs
from mspn.outputs.tables import CsvWriter, JsonLinesWriter, JsonWriter, ParquetWriter
from mspn.predict.pipeline import ImageResult
from mspn.sources.resolve import WHOLE, Shard
from mspn.visualize.themes import DEFAULT_THEME, Theme

logger = logging.getLogger(__name__)


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
    outputs = read_outputs(folder)
    for name, writer in WRITERS.items():
        for path in (folder / part for part in writer.paths):
            # Without a journal, a folder of that name, or a link to one, may be anybody's.
            if name in outputs and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif name in outputs or path.is_file():
                path.unlink(missing_ok=True)
    (folder / JOURNAL_FILE).unlink(missing_ok=True)


def prepare_results(
    out: Path, sources: Sequence[str], outputs: Sequence[str], *, resume: bool, overwrite: bool
) -> None:
    """Refuse a folder that holds results of another run, or remove them; clear away what a killed run has left.

    Raises:
        ValueError: for results that are neither to be continued nor removed, or that are a source of this run; or if a
            folder that `outputs` would fill already holds files of others.
        OSError: if something cannot be removed.
    """
    folders = [out / path for writer in WRITERS.values() for path in writer.paths]
    real_folders = [os.path.realpath(folder) for folder in folders]  # resolve() fails on a link to itself
    # Also without a journal: once it names the folder of a source as one of results, another run would remove that.
    for source in sources:
        if any(Path(os.path.realpath(source)).is_relative_to(folder) for folder in real_folders):
            raise InvalidValueError(f"{source} is where {out} has its results; choose another --out")
    remove_leftovers(out)
    for folder in folders:
        for subfolder in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            remove_leftovers(subfolder)
    _refuse_files_of_others(out, outputs)
    if not (resume and (out / JOURNAL_FILE).is_file()):
        if has_results(out) and not overwrite:
            raise InvalidValueError(
                f"{out} already holds results; --resume goes on with them where {JOURNAL_FILE} is there, --overwrite"
                " removes them first; or choose another --out"
            )
        remove_results(out)


def _refuse_files_of_others(out: Path, outputs: Sequence[str]) -> None:
    """Where results would go that no run has written so far: a later one with `overwrite` would remove all of them."""
    for name in set(outputs).difference(read_outputs(out)):
        for folder in (out / part for part in WRITERS[name].paths):
            if folder.is_dir() and not all(path.is_dir() for path in folder.rglob("*")):
                raise InvalidValueError(f"{folder} already holds files, which are no results; choose another --out")


_Numbered = tuple[int, JournalReader, ImageResult]
"""The place of the source in its run, the run, and a result."""
SHARD_SETTING = "shard"
"""Of a run, in its journal."""


def merge_results(
    folders: Sequence[Path],
    out: Path,
    outputs: Sequence[str] = (),
    image_ids: Mapping[str, int] | None = None,
    *,
    overwrite: bool = False,
) -> list[Shard]:
    """Write the results of several runs of the same settings as one run would have written them.

    Shards are joined in the order of the sources that they share; other runs one after the other. Of an image that
    several runs have, the first is kept. Drawn images and videos are copied.

    Args:
        folders: of the runs.
        out: folder for the joint results.
        outputs: names of writers; none: all that the runs have used.
        image_ids: as for `WriterSettings`.
        overwrite: remove the results that are in `out`, if there are any.

    Returns:
        Shards that are missing.

    Raises:
        ValueError: if the runs have other settings, or the folder has results already.
        OSError: if a folder has no journal, another process writes there, or there is no room.
    """
    with ExitStack() as stack:
        for folder in folders:
            if not (folder / JOURNAL_FILE).is_file():
                raise MissingFileError(f"no {JOURNAL_FILE} in {folder}; name folders that mspn predict has written")
            if folder.resolve() == out.resolve():
                raise InvalidValueError(
                    f"the results would go to {out}, which is one of the runs; choose another --out"
                )
        for folder in dict.fromkeys(folder.resolve() for folder in (*folders, out)):
            stack.enter_context(locked_folder(folder))
        readers = [JournalReader(folder) for folder in folders]
        for reader in readers:
            if not reader.end:
                raise InvalidValueError(
                    f"{reader.path} is empty, its run ended before the first image; predict anew, or leave it out"
                )
        _check_same_settings(readers)
        shards = _check_shards(readers)
        chosen = outputs or [name for name in WRITERS if any(name in reader.outputs for reader in readers)]
        if has_results(out) and not overwrite:
            raise InvalidValueError(f"{out} already holds results; add --overwrite, or choose another --out")
        remove_results(out)
        settings = {**readers[0].settings, SHARD_SETTING: str(WHOLE)}
        source_folder = readers[0].source_folder
        journal = stack.enter_context(
            Journal(out, settings, readers[0].skeleton, resume=False, outputs=chosen, source_folder=source_folder)
        )
        run = WriterSettings(source_folder, image_ids=image_ids)
        writers = [
            stack.enter_context(closing(make_writer(name, out, run))) for name in chosen if name not in DRAWING_WRITERS
        ]
        for result in _join(readers, journal, are_shards=shards[0] != WHOLE):
            for writer in writers:
                writer.write(result)
            journal.append(result)
        for name in set(chosen) & set(DRAWING_WRITERS):
            for part in WRITERS[name].paths:
                _copy_files([folder / part for folder in folders], out / part)
    total = shards[0].total
    return [Shard(number, total) for number in range(1, total + 1) if Shard(number, total) not in shards]


def _check_same_settings(readers: Sequence[JournalReader]) -> None:
    first = readers[0]
    for reader in readers:
        for name in {**first.settings, **reader.settings}:
            if name != SHARD_SETTING and first.settings.get(name) != reader.settings.get(name):
                raise InvalidValueError(
                    f"{first.path.parent} and {reader.path.parent} hold results of different {name}; only runs of the"
                    " same settings can be joined"
                )


def _check_shards(readers: Sequence[JournalReader]) -> list[Shard]:
    """The shards that the runs are."""
    shards = [Shard.parse(str(reader.settings.get(SHARD_SETTING, WHOLE))) for reader in readers]
    for index, (reader, shard) in enumerate(zip(readers, shards, strict=True)):
        if shard.total != shards[0].total:
            raise InvalidValueError(
                f"{readers[0].path.parent} is shard {shards[0]} and {reader.path.parent} is shard {shard}; only shards"
                " of the same run can be joined"
            )
        if shard != WHOLE and shard in shards[:index]:
            other = readers[shards.index(shard)].path.parent
            raise InvalidValueError(f"{other} and {reader.path.parent} both are shard {shard}; name each shard once")
    return shards


def _join(readers: Sequence[JournalReader], journal: Journal, *, are_shards: bool) -> Iterator[ImageResult]:
    """The results of all runs, with each source noted in the journal of the joint run."""
    runs = [_results_of(reader) for reader in readers]
    joined = heapq.merge(*runs, key=_number) if are_shards else chain.from_iterable(runs)
    owners: dict[str, JournalReader] = {}
    for number, reader, result in joined:
        source = result.source
        if source not in owners:
            owners[source] = reader
            journal.note_source(source, number if are_shards else len(owners), reader.done[source].version)
        if owners[source] is reader:
            yield result


def _results_of(reader: JournalReader) -> Iterator[_Numbered]:
    for result in reader.results():
        yield reader.number_of(result.source), reader, result


def _number(item: _Numbered) -> int:
    return item[0]


def _copy_files(sources: Sequence[Path], destination: Path) -> None:
    """Copy all files of folders into one; of two of the same name, the second gets a number."""
    for folder in sources:
        for path in sorted(file for file in folder.rglob("*") if file.is_file()):
            target = destination / path.relative_to(folder)
            name, number = target, 1
            while target.exists():
                number += 1
                target = name.with_stem(f"{name.stem}-{number}")
            if target != name:
                logger.warning("%s is copied to %s, because there is another of its name", path, target)
            with explain_failures(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
