"""Reading and writing files safely: atomic writes, digests, small YAML files."""

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from mspn.errors import FileError, MspnError, YamlError, reason

_CHUNK_BYTES = 2**20
_DIGITS = 8
"""Of the digest of a file's name in that of its temporary folder."""
_PARTIAL = ".partial"
_PARTIAL_FOLDER = re.compile(rf"\..*-[0-9a-f]{{{_DIGITS}}}-[0-9]+{re.escape(_PARTIAL)}", re.DOTALL)
"""Names of temporary folders: the start of the file's, its digest, and a number."""
_FOR_OWNER = 0o700
_MAX_PREFIX_LETTERS = 40
"""Of the name of a temporary folder, since that of the file may be as long as file systems take."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Of systems that write, whose errors may name no file."""
_LOCK_FILE = ".lock"
_SECONDS_TO_LOCK = 2.0
"""The workers of a killed process, which hold its lock too, end within this time."""


@contextmanager
def replacing(path: Path, *failures: type[Exception]) -> Iterator[Path]:
    """Give a temporary path to write to; on success it takes the place of `path` at once, else it is removed.

    What processes that were killed left of earlier tries to write this file is removed, too.

    Args:
        path: of the file, in a folder that need not exist.
        failures: errors by which the library that writes says that it could not.

    Raises:
        FileError: if there is no room for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds: tuple[type[Exception], ...] = (OSError, *failures)
    try:
        with temporary_folder(path) as folder:
            temporary = folder / path.name
            mode = _mode_of_new_file(temporary)
            yield temporary
            # Windows syncs only files that are open for writing.
            with temporary.open("r+b") as written:
                os.fsync(written.fileno())
            temporary.chmod(mode)  # some writers make files that only the owner reads
            temporary.replace(path)
    except kinds as error:
        if isinstance(error, MspnError) or (isinstance(error, OSError) and error.errno not in _NO_ROOM):
            raise
        raise _write_error(path, error) from error


def _mode_of_new_file(path: Path) -> int:
    """The rights that a plain open() gives; asking for the umask would change it for other threads meanwhile."""
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A folder beside a file, for this process alone; those that killed processes have left are removed.

    It is a folder, since some writers put temporary files of their own beside what they write.
    """
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:_DIGITS]
    name = f".{path.stem[:_MAX_PREFIX_LETTERS]}-{digest}"
    folders = (path.parent / f"{name}-{number}{_PARTIAL}" for number in count())
    folder, lock = next((folder, lock) for folder in folders if (lock := _make(folder)))
    for other in folders:  # of writers that came while another one wrote
        if not other.exists():
            break
        _remove_if_abandoned(other)
    try:
        yield folder
    finally:
        _remove(folder, lock)


def _make(folder: Path) -> BaseFileLock | None:
    """Make a temporary folder, and give its lock; None if something else has its name.

    What is there is never used: in a folder for all, such as /tmp, it may be another user's.
    """
    _remove_if_abandoned(folder)
    try:
        folder.mkdir(_FOR_OWNER)
    except FileExistsError:
        return None
    return _claim(folder)


def _remove_if_abandoned(folder: Path) -> None:
    if _is_own_folder(folder) and (lock := _claim(folder)):
        _remove(folder, lock)


def _is_own_folder(path: Path) -> bool:
    """Whether it is a folder, no link to one, and this user's, where systems say whose it is."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())


def _claim(folder: Path) -> BaseFileLock | None:
    """The lock of a temporary folder, which ends with its process; None if it is another writer's."""
    lock = FileLock(folder / _LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except (Timeout, PermissionError):
        return None
    return lock


def _remove(folder: Path, lock: BaseFileLock) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    with suppress(OSError):  # Windows keeps the lock's file, and so the folder, until here
        folder.rmdir()


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Let no other process that asks for the lock of a folder write into it; the lock ends with the process.

    Raises:
        FileError: if another process has the lock, or the folder cannot be written to.
    """
    path = folder / _LOCK_FILE
    lock = FileLock(path, timeout=_SECONDS_TO_LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise FileError(
            f"another process is writing into {folder}; wait until it has ended, or choose another --out"
        ) from error
    except OSError as error:
        raise FileError(f"cannot write to the folder {folder} ({error.strerror}); choose another --out") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            path.unlink()
        lock.release()


def remove_leftovers(folder: Path) -> None:
    """Remove what `replacing` left in a folder where a process was killed, of whichever files."""
    for partial in folder.glob(f".*{_PARTIAL}"):
        if _PARTIAL_FOLDER.fullmatch(partial.name) and (partial / _LOCK_FILE).is_file():
            _remove_if_abandoned(partial)


def prepare_folder(path: Path) -> None:
    """Make a folder for results and see that it can be written to, before any work is done.

    Raises:
        OSError: saying what is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise FileError(f"cannot write to the folder {path} ({error.strerror}); choose another --out") from error


@contextmanager
def explain_failures(path: Path) -> Iterator[None]:
    """Say of a file that could not be written which one it is, and what may help.

    Raises:
        OSError: in place of the system's, which may name no file.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path, error: Exception) -> FileError:
    return FileError(f"could not write {path} ({reason(error)}); is there room on the disk?")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits; of a folder, that of the names and digests of all files below it."""
    digest = hashlib.sha256()
    if path.is_dir():
        for inside in sorted(inside for inside in path.rglob("*") if inside.is_file()):
            digest.update(os.fsencode(f"{inside.relative_to(path).as_posix()}\0{sha256_of(inside)}\n"))
        return digest.hexdigest()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


_MAX_BYTES = 2**20


def read_yaml(path: Path) -> Any:
    """Parse a file of at most a megabyte without aliases, of which a few can stand for gigabytes.

    Raises:
        YamlError: if there is no such file, it is too large, has an alias, or is no YAML.
    """
    import yaml  # noqa: PLC0415 (of use to few commands)

    if not path.is_file():
        raise YamlError(f"no file at {path}; check the path")
    if path.stat().st_size > _MAX_BYTES:
        raise YamlError(f"{path} is larger than a megabyte; such a file has a few dozen lines")
    try:
        text = path.read_text(encoding="utf-8")
        has_alias = any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
        values = None if has_alias else parse_yaml(text)
    except (yaml.YAMLError, UnicodeDecodeError, YamlError) as error:
        raise YamlError(f"{path} is not YAML ({' '.join(str(error).split())})") from error
    if has_alias:
        raise YamlError(f"{path} has an alias (*name); write out what it stands for")
    return values


def parse_yaml(text: str) -> Any:
    """Parse YAML.

    Raises:
        YamlError: if it is none, nests too deep, or a tag such as !!int stands before another kind of value.
    """
    import yaml  # noqa: PLC0415 (of use to few commands)

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from error
    # What PyYAML's constructors raise for a tag that the value does not fit.
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise YamlError(f"{type(error).__name__}: a value is not of the kind that its tag says") from error
