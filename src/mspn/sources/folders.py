"""Images and videos in folders, and by patterns such as photos/**/*.jpg."""

import os
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import groupby, takewhile
from pathlib import Path
from typing import NamedTuple

from mspn.io.images import IMAGE_SUFFIXES
from mspn.sources.video_formats import HEAD_BYTES, TRANSPORT_STREAM_SUFFIX, VIDEO_SUFFIXES, is_transport_stream
from mspn.structures.image import SourceFailure

# Not every installation reads AVIF and HEIC, of the web and of phones; a line about each is better than silence.
_KNOWN_SUFFIXES = IMAGE_SUFFIXES | {".avif", ".heic", ".heif", ".apng"} | VIDEO_SUFFIXES
_WILD = "*?["
_ANY_FOLDERS = "**"


class _Folder(NamedTuple):
    path: Path
    inside: list[Path]
    """Its entries, without hidden ones."""


def search_folder(folder: Path, excluded_folders: Sequence[Path] = ()) -> Iterator[Path | SourceFailure]:
    """Images and videos in a folder and below: those of a folder by name, then those of its subfolders.

    Hidden files and folders are left out. Links to folders are followed; a folder is searched once, and a link back to
    a folder that holds it is a line of its own. Folders below that are among those left out are not searched.
    """
    for entry in _walk(folder, excluded_folders):
        if isinstance(entry, SourceFailure):
            yield entry
        else:
            yield from (path for path in entry.inside if _is_image_or_video(path))


def is_pattern(name: str) -> bool:
    """Whether a name has wildcards, and is not the name of something that is there."""
    return _has_wildcards(name) and not exists_safely(Path(name).exists)


def exists_safely(predicate: Callable[[], bool]) -> bool:
    """Result of `is_dir`, `exists` or the like of a path; False on a system error, such as a name that is too long."""
    try:
        return predicate()
    except OSError:
        return False


def match_pattern(pattern: str, excluded_folders: Sequence[Path] = ()) -> Iterator[Path | SourceFailure]:
    """Files and folders that a pattern stands for, sorted within each folder: *, ?, [abc], and ** for any folders.

    As in a shell, hidden files only match names that start with a dot; unlike there, loops of links end.
    """
    folder = pattern_folder(pattern)
    parts = Path(pattern).parts[len(folder.parts) :]
    # Two ** in a row are the same as one.
    wild = [part for part, group in groupby(parts) for part in ([part] if part == _ANY_FOLDERS else group)]
    return _match(folder, wild, excluded_folders)


def pattern_folder(pattern: str) -> Path:
    """The folder that a pattern searches: what comes before its first part with wildcards."""
    return Path(*takewhile(lambda part: not _has_wildcards(part), Path(pattern).parts))


def _has_wildcards(name: str) -> bool:
    return any(sign in name for sign in _WILD)


def _match(folder: Path, parts: Sequence[str], excluded_folders: Sequence[Path]) -> Iterator[Path | SourceFailure]:
    first, *remaining = parts
    if first == _ANY_FOLDERS:
        for entry in _walk(folder, excluded_folders):
            if isinstance(entry, SourceFailure):
                yield entry
            elif remaining:
                yield from _match(entry.path, remaining, excluded_folders)
            else:
                yield from (path for path in entry.inside if not exists_safely(path.is_dir))
        return
    try:
        entries = _entries(folder)
    except OSError as error:
        yield _unsearchable(folder, error)
        return
    for path in entries:
        if fnmatchcase(path.name, first) and (first.startswith(".") or not path.name.startswith(".")):
            if not remaining:
                yield path
            elif exists_safely(path.is_dir):
                yield from _match(path, remaining, excluded_folders)


def _walk(folder: Path, excluded_folders: Sequence[Path]) -> Iterator[_Folder | SourceFailure]:
    """The folder and all below it, each before its subfolders."""
    excluded = {_identity(path) for path in excluded_folders if exists_safely(path.is_dir)}
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(folder, ())]
    while waiting:  # no recursion, since folders may be nested deeper than Python allows
        folder, ancestors = waiting.pop()
        try:
            identity = _identity(folder)
            inside = [path for path in _entries(folder) if not path.name.startswith(".")]
        except OSError as error:
            yield _unsearchable(folder, error)
            continue
        if identity in ancestors:
            yield SourceFailure(
                str(folder), f"{folder} is a link back to a folder that holds it; what is there is read once"
            )
        elif identity not in seen and not (ancestors and identity in excluded):
            seen.add(identity)
            yield _Folder(folder, inside)
            waiting += [(path, (*ancestors, identity)) for path in reversed(inside) if exists_safely(path.is_dir)]


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list[Path]:
    return [folder / name for name in sorted(os.listdir(folder))] if exists_safely(folder.is_dir) else []  # noqa: PTH208 (fast)


def _unsearchable(folder: Path, error: OSError) -> SourceFailure:
    return SourceFailure(str(folder), f"{folder} cannot be searched ({error.strerror}); check its rights")


def _is_image_or_video(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in _KNOWN_SUFFIXES or exists_safely(path.is_dir):
        return False
    return suffix != TRANSPORT_STREAM_SUFFIX or exists_safely(lambda: _begins_as_transport_stream(path))


def _begins_as_transport_stream(path: Path) -> bool:
    with path.open("rb") as file:
        return is_transport_stream(file.read(HEAD_BYTES))
