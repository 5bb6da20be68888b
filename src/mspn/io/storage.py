"""Folders on pyarrow's file systems: local ones, and those of addresses such as s3://bucket/folder."""

import posixpath
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

from pyarrow import fs

from mspn.errors import FileError, MspnError, reason
from mspn.io.limits import scheme_of, without_password

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")
"""Of addresses for which pyarrow has file systems."""
_TRIES = 5
_FIRST_PAUSE_SECONDS = 0.25
"""Twice as long after each further try."""
_TEMPORARY = (
    "INTERNAL_FAILURE",
    "NETWORK_CONNECTION",
    "SLOW_DOWN",
    "SERVICE_UNAVAILABLE",
    "HTTP status 50",
    "timed out",
)
"""In messages of errors after which the same may succeed."""
_CHUNK_BYTES = 2**22

_Result = TypeVar("_Result")


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Say of a failure of a file system what it is about.

    Raises:
        FileError: in place of the system's error.
    """
    try:
        yield
    except MspnError:
        raise
    except OSError as error:
        raise FileError(f"{name}: {reason(error)}; check the address, its rights, and that there is room") from error


def is_stored(source: str) -> bool:
    """Whether a source is an address that `Storage` takes."""
    return scheme_of(source) in SCHEMES


def split_options(address: str) -> tuple[str, str]:
    """An address, and options of its file system, such as ?region=eu-west-1; other question marks are wildcards."""
    written, *options = re.split(r"\?(?=[a-z_]+=)", address, maxsplit=1)
    return written, "".join(options)


@dataclass(frozen=True)
class Storage:
    """A file or folder on a file system. It can be sent to other processes."""

    name: str
    """As it is shown: without password and options."""
    files: Any
    """`pyarrow.fs.FileSystem`."""
    root: str
    """Path in its file system."""

    @classmethod
    def of(cls, address: str) -> "Storage":
        """What a local path names, or an address: its path as it is stored, and after ? options of the file system.

        Raises:
            FileError: if pyarrow has no file system for it.
        """
        scheme = scheme_of(address)
        if scheme is None:
            return cls(address, fs.LocalFileSystem(), str(Path(address).absolute()))
        written, options = split_options(address)
        host, _, path = written.partition("://")[2].partition("/")
        name = without_password(written)
        files, root = _file_system(scheme, host, options, name)
        return cls(name.rstrip("/"), files, posixpath.join(root, path).rstrip("/"))

    def join(self, *parts: str) -> str:
        """Path of something in the folder."""
        return posixpath.join(self.root, *parts)

    def list_files(self, folder: str) -> list[str]:
        """Paths of the files in a folder of this file system, and not below it; none if it is not there."""
        selector = fs.FileSelector(folder, allow_not_found=True)
        return [entry.path for entry in patiently(lambda: self.files.get_file_info(selector)) if entry.is_file]

    def list_folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder of this file system; none if it is not there."""
        selector = fs.FileSelector(folder, allow_not_found=True)
        found = patiently(lambda: self.files.get_file_info(selector))
        return [entry.base_name for entry in found if entry.type == fs.FileType.Directory]

    def search(self) -> Iterator["Storage"]:
        """This file, or those of this folder and below it, by name; nothing if there is nothing.

        What is named with wildcards (*, ?, [abc], and ** for any folders) is searched for in the folder before them.
        Hidden files and folders are left out.
        """
        folder: Storage = self
        matches: Callable[[str], object] = _is_visible
        kind = patiently(lambda: self.files.get_file_info(self.root)).type
        if kind == fs.FileType.File:
            yield self
            return
        if kind == fs.FileType.NotFound:
            (name, _), (root, pattern) = _split_pattern(self.name), _split_pattern(self.root)
            if not pattern:
                return
            folder = Storage(name, self.files, root)
            matches = re.compile(_translate(pattern)).fullmatch
        selector = fs.FileSelector(folder.root, recursive=True, allow_not_found=True)
        entries = patiently(lambda: self.files.get_file_info(selector))
        paths = (posixpath.relpath(entry.path, folder.root) for entry in entries if entry.is_file)
        for path in sorted(filter(matches, paths)):
            yield Storage(posixpath.join(folder.name, path), self.files, posixpath.join(folder.root, path))

    def version(self) -> str | None:
        """What changes if the file does: size and time; None if it is no file."""
        info = patiently(lambda: self.files.get_file_info(self.root))
        return f"{info.size} bytes, {info.mtime_ns} ns" if info.type == fs.FileType.File else None

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and all that is in it, if it is there."""
        if patiently(lambda: self.files.get_file_info(folder)).type == fs.FileType.Directory:
            patiently(lambda: self.files.delete_dir(folder))

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None if it is not there."""
        if patiently(lambda: self.files.get_file_info(path)).type != fs.FileType.File:
            return None

        def read() -> bytes:
            with self.files.open_input_stream(path) as file:
                content: bytes = file.read()
                return content

        return patiently(read)

    def copy_to(self, target: IO[bytes]) -> None:
        """Copy the file to the start of another one, which is then at its start."""

        def copy() -> None:
            target.seek(0)
            target.truncate()
            with self.files.open_input_stream(self.root) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    target.write(chunk)

        patiently(copy)
        target.seek(0)

    def write(self, path: str, content: bytes) -> None:
        """Write a file, in a folder that need not exist."""
        if isinstance(self.files, fs.LocalFileSystem):
            self.files.create_dir(posixpath.dirname(path), recursive=True)

        def write() -> None:
            with self.files.open_output_stream(path) as file:
                file.write(content)

        patiently(write)


@cache
def _file_system(scheme: str, host: str, options: str, name: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it where the address's own begins."""
    try:
        files, root = fs.FileSystem.from_uri(f"{scheme}://{host}/" + (f"?{options}" if options else ""))
    except (ValueError, OSError, ImportError) as error:
        raise FileError(
            f"{name} is no address that can be used ({reason(error)}); write a path, or s3://bucket/folder, gs://,"
            " abfs:// or hdfs://"
        ) from error
    return files, root.rstrip("/") or "/"


def patiently(call: Callable[[], _Result]) -> _Result:
    """Call what asks a server, and again where it is out of order for a moment.

    Raises:
        OSError: of the last try.
    """
    for number in range(1, _TRIES + 1):
        try:
            return call()
        except OSError as error:
            if number == _TRIES or not any(sign in str(error) for sign in _TEMPORARY):
                raise
            time.sleep(_FIRST_PAUSE_SECONDS * 2 ** (number - 1))
    raise AssertionError


def _split_pattern(path: str) -> tuple[str, str]:
    """The folder before the first part that has wildcards, and the pattern below it; "" without any."""
    parts = path.split("/")
    first = next((index for index, part in enumerate(parts) if any(sign in part for sign in "*?[")), len(parts))
    return "/".join(parts[:first]), "/".join(parts[first:])


def _translate(pattern: str) -> str:
    """A regular expression of a pattern."""
    tokens = re.findall(r"\*\*/?|\*|\?|\[[^\]/]+\]|.", pattern, re.DOTALL)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    # What remains is [abc], or a sign that stands for itself.
    return "".join(
        meaning.get(token) or (token.replace("[!", "[^") if len(token) > 1 else re.escape(token)) for token in tokens
    )


def _is_visible(path: str) -> bool:
    return not any(part.startswith(".") for part in path.split("/"))
