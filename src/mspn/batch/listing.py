"""The files of a run, cut into the tasks that actors take one by one."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import pyarrow as pa
from pyarrow import csv, parquet
from ray.data import ReadTask
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource

from mspn.batch.table import SOURCE, as_text
from mspn.errors import SourceError, reason
from mspn.io.images import IMAGE_SUFFIXES
from mspn.io.limits import InputLimits
from mspn.io.storage import Storage, explained, is_stored, split_options
from mspn.sources import name_source
from mspn.sources.resolve import Shard, Source, find_sources
from mspn.sources.video import VIDEO_SUFFIXES
from mspn.structures.image import SourceFailure

PATH_COLUMN = "path"
"""Of lists in Parquet or CSV files."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_LIST_SUFFIXES = (".csv", ".parquet")
_MIN_IMAGES_PER_TASK, _MAX_IMAGES_PER_TASK = 16, 64
"""Fewer do not fill batches of people; what is not written of more is lost with an actor."""
_TASKS_PER_ACTOR = 8
"""At least, where there are enough images: so that all actors end at about the same time."""


class ListedFile(NamedTuple):
    """A file of a run."""

    name: str
    """In results."""
    path: str | None
    """To open: a local path, or a web address; with a file system, the path in that. None: nothing can be opened."""
    files: int | None = None
    """Number of its file system in `Listing.file_systems`; None for local files and web addresses."""
    problem: str | None = None
    """Why nothing can be opened."""

    @property
    def is_long(self) -> bool:
        """Whether it holds many images, as far as its name tells: a video or a tar."""
        name = self.name.lower()
        return name.endswith(TAR_SUFFIXES) or os.path.splitext(name)[1] in VIDEO_SUFFIXES  # noqa: PTH122 (an address)


class Listing:
    """The files of a run, each once, in order.

    Attributes:
        files: of the shard.
        file_systems: pyarrow's, of those that addresses name.
    """

    def __init__(self, sources: Sequence[str], limits: InputLimits, shard: Shard) -> None:
        """Search for files.

        Args:
            sources: files, folders, patterns, web addresses as `find_sources` takes them; addresses that `Storage`
                takes; and CSV or Parquet files with a column "path" of any of these but folders and patterns.
            limits: what may be read.
            shard: a file's is decided by the hash of its name alone, so that files that come later move no other.

        Raises:
            SourceError: if nothing is there, or a list is none.
            FileError: if a file system cannot be asked.
        """
        self._limits = limits
        self.file_systems: list[object] = []
        files: dict[str, ListedFile] = {}
        for file in self._search(sources):
            files.setdefault(file.name, file)
        self.files = [file for file in files.values() if _hash(file.name) % shard.total == shard.number - 1]

    def _search(self, sources: Sequence[str]) -> Iterator[ListedFile]:
        plain = [source for source in sources if not (is_stored(source) or _is_list(source))]
        if plain or not sources:
            yield from map(_listed, find_sources(plain, self._limits))
        for source in sources:
            if _is_list(source):
                yield from map(self._named, _read_list(Storage.of(source)))
            elif is_stored(source):
                yield from self._search_storage(Storage.of(source))

    def _search_storage(self, storage: Storage) -> Iterator[ListedFile]:
        with explained(storage.name):
            found = storage.search()
            first = next(found, None)
            if first is None:
                raise SourceError(f"nothing is at {storage.name}; check the address")
            is_folder = first.root != storage.root
            num_files = 0
            for file in chain([first], found):
                suffix = os.path.splitext(file.name)[1].lower()  # noqa: PTH122 (an address)
                if not is_folder or suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES or file.name.endswith(TAR_SUFFIXES):
                    num_files += 1
                    yield self._stored(file)
            if not num_files:
                raise SourceError(f"no images, videos or tars in the folder {storage.name}, nor below it")

    def _named(self, name: str) -> ListedFile:
        return self._stored(Storage.of(name)) if is_stored(name) else _listed(name)

    def _stored(self, file: Storage) -> ListedFile:
        if not any(file.files is known for known in self.file_systems):
            self.file_systems.append(file.files)
        number = next(number for number, known in enumerate(self.file_systems) if known is file.files)
        return ListedFile(as_text(file.name), file.root, number)


def _is_list(source: str) -> bool:
    return split_options(source)[0].lower().endswith(_LIST_SUFFIXES)


def _read_list(file: Storage) -> list[str]:
    with explained(file.name):
        content = file.read(file.root)
    if content is None:
        raise SourceError(f"no list at {file.name}; check the path")
    buffer = pa.BufferReader(content)
    try:
        is_csv = file.name.lower().endswith(".csv")
        table = csv.read_csv(buffer) if is_csv else parquet.read_table(buffer)
    except pa.ArrowException as error:
        raise SourceError(f"{file.name} is no list of files ({reason(error)})") from error
    if PATH_COLUMN not in table.column_names:
        raise SourceError(
            f"{file.name} has no column {PATH_COLUMN}, but {', '.join(table.column_names)}; rename the one of the files"
        )
    names: list[str] = table[PATH_COLUMN].to_pylist()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise SourceError(f"{file.name} must have a path in each row; leave out those without")
    return names


def _listed(source: Source | SourceFailure) -> ListedFile:
    name = as_text(name_source(source))
    return (
        ListedFile(name, None, problem=source.problem)
        if isinstance(source, SourceFailure)
        else ListedFile(name, str(source))
    )


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


_FILES, _PROBLEM = "files", "problem"
_TASK_SCHEMA = pa.schema(
    [(SOURCE, pa.string()), (PATH_COLUMN, pa.binary()), (_FILES, pa.int32()), (_PROBLEM, pa.string())]
)
"""Paths as bytes: names of files need not be UTF-8."""


def make_tasks(files: Sequence[ListedFile], num_actors: int) -> list[pa.Table]:
    """Tables with a row for each file: several images each, but one video or tar."""
    wanted = len(files) // (_TASKS_PER_ACTOR * num_actors)
    size = min(max(wanted, _MIN_IMAGES_PER_TASK), _MAX_IMAGES_PER_TASK)
    tasks: list[pa.Table] = []
    images: list[ListedFile] = []
    for file in files:
        if file.is_long:
            tasks.append(_task([file]))
            continue
        images.append(file)
        if len(images) == size:
            tasks.append(_task(images))
            images = []
    return [*tasks, _task(images)] if images else tasks


def _task(files: Iterable[ListedFile]) -> pa.Table:
    rows = (file._replace(path=file.path and os.fsencode(file.path)) for file in files)  # type: ignore[arg-type]
    return pa.table(list(zip(*rows, strict=True)), schema=_TASK_SCHEMA)


def read_task(task: pa.Table) -> Iterator[ListedFile]:
    """The files of a task."""
    for row in task.to_pylist():
        path = row[PATH_COLUMN]
        yield ListedFile(row[SOURCE], None if path is None else os.fsdecode(path), row[_FILES], row[_PROBLEM])


class TaskList(Datasource):  # type: ignore[misc]  # Ray is skipped by mypy, see pyproject.toml
    """Gives each task as a block of its own, so that Ray retries, counts and resumes by tasks."""

    def __init__(self, tasks: Sequence[pa.Table]) -> None:
        super().__init__()
        self._tasks = tasks

    def get_name(self) -> str:
        """What Ray calls it."""
        return "Files"

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all tasks."""
        return sum(task.nbytes for task in self._tasks)

    def get_read_tasks(
        self, _parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """One for each task, whatever Ray would like."""
        assert per_task_row_limit is None, data_context  # only a limit on rows sets it, which nobody asks for
        return [_read_task(task) for task in self._tasks]


def _read_task(task: pa.Table) -> ReadTask:
    metadata = BlockMetadata(num_rows=task.num_rows, size_bytes=task.nbytes, input_files=None, exec_stats=None)
    return ReadTask(lambda: [task], metadata, schema=task.schema)
