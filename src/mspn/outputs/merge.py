"""Joining the results of several runs, such as the shards of one."""

import heapq
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path

from mspn.errors import InvalidValueError, MissingFileError
from mspn.io.files import explain_failures, locked_folder
from mspn.outputs import DRAWING_WRITERS, WRITERS, WriterSettings, has_results, make_writer, remove_results
from mspn.outputs.journal import JOURNAL_FILE, Journal, JournalReader
from mspn.predict.pipeline import ImageResult
from mspn.sources.resolve import WHOLE, Shard

logger = logging.getLogger(__name__)

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
