"""Reading of a task's files: local ones, web addresses, those of file systems far away, and members of tars."""

import posixpath
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from mspn.batch.listing import TAR_SUFFIXES, ListedFile
from mspn.errors import FileError, ImageError, reason
from mspn.io.hosts import scheme_of
from mspn.io.images import IMAGE_SUFFIXES, MAX_FILE_BYTES, decode_image
from mspn.io.limits import InputLimits
from mspn.io.storage import Storage, explained
from mspn.sources import failures_told, open_source, read_open_file
from mspn.structures.image import Image, SourceFailure

_FILES_AHEAD = 8
"""Of a file system far away, which are fetched while others are predicted: each takes some time to answer."""
_MAX_BYTES_IN_MEMORY = 2**23
"""Of a fetched file; larger ones wait on the disk."""

ReadImage = tuple[str | None, Image | SourceFailure]
"""With the name of the member of a tar; None for an image that is a file, and for frames."""


def read_files(
    files: Sequence[ListedFile], file_systems: Sequence[Any], limits: InputLimits
) -> Iterator[tuple[ListedFile, ReadImage | None]]:
    """Each file, first without an image, when it is opened, and then with each of its images.

    Args:
        files: of a task.
        file_systems: as `Listing.file_systems`.
        limits: what may be read.
    """
    with ThreadPoolExecutor(_FILES_AHEAD, "mspn-fetch") as threads:
        fetched: deque[Future[IO[bytes]] | None] = deque()
        waiting = iter(files)
        for file in files:
            while len(fetched) < _FILES_AHEAD and (following := next(waiting, None)) is not None:
                fetched.append(
                    None
                    if following.files is None
                    else threads.submit(_fetch, following, file_systems[following.files])
                )
            yield file, None
            for image in _read(file, fetched.popleft(), limits):
                yield file, image


def _fetch(file: ListedFile, files: Any) -> IO[bytes]:
    assert file.path is not None
    with ExitStack() as on_failure:
        copy = on_failure.enter_context(tempfile.SpooledTemporaryFile(_MAX_BYTES_IN_MEMORY))
        with explained(file.name):
            Storage(file.name, files, file.path).copy_to(copy)
        on_failure.pop_all()  # who reads it closes it
    return copy


def _read(file: ListedFile, fetched: Future[IO[bytes]] | None, limits: InputLimits) -> Iterator[ReadImage]:
    if file.path is None:
        yield None, SourceFailure(file.name, file.problem or "")
        return
    is_tar = file.name.lower().endswith(TAR_SUFFIXES)
    if fetched is None and not is_tar:
        source = file.path if scheme_of(file.path) else Path(file.path)
        yield from ((None, image) for image in open_source(source, limits))
        return
    try:
        with explained(file.name):
            opened: IO[bytes] = fetched.result() if fetched else Path(file.path).open("rb")  # noqa: SIM115 (below)
    except FileError as error:
        yield None, SourceFailure(file.name, str(error))
        return
    with opened:
        if is_tar:
            yield from _read_tar(opened, file.name, limits)
        else:
            images = read_open_file(opened, file.name, posixpath.splitext(file.name)[1], limits)
            yield from ((None, image) for image in failures_told(images, file.name))


def _read_tar(opened: IO[bytes], name: str, limits: InputLimits) -> Iterator[ReadImage]:
    """The images of a tar, such as those of WebDataset, as they come; other members are left out."""
    try:
        with tarfile.open(fileobj=opened, mode="r|*") as tar:
            for member in tar:
                if member.isfile() and posixpath.splitext(member.name)[1].lower() in IMAGE_SUFFIXES:
                    yield member.name, _read_member(tar, member, name, limits)
    except (tarfile.TarError, OSError, EOFError) as error:
        yield None, SourceFailure(name, f"{name} is no tar, or cut short ({reason(error)}); copy it again")


def _read_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, limits: InputLimits
) -> Image | SourceFailure:
    shown = f"{name}/{member.name}"
    if member.size > MAX_FILE_BYTES:
        return SourceFailure(shown, f"{shown} is larger than {MAX_FILE_BYTES // 2**20} MiB; make it smaller first")
    content = tar.extractfile(member)
    assert content is not None  # it is a file
    try:
        return Image(shown, decode_image(content.read(), shown, limits.max_pixels, stretch=limits.stretch))
    except ImageError as error:
        return SourceFailure(shown, str(error))
