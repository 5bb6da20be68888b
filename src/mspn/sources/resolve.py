"""Resolve the sources that a user names: folders, patterns such as photos/**/*.jpg, and lists become their files."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import chain, groupby, islice, takewhile
from pathlib import Path
from typing import NamedTuple, TypeVar

from mspn.errors import InvalidValueError, SourceError
from mspn.io.images import IMAGE_SUFFIXES
from mspn.io.limits import DEFAULTS, STREAM_SCHEMES, WEB_SCHEMES, InputLimits, scheme_of, without_password
from mspn.sources.in_memory import InMemoryImage
from mspn.sources.video import HEAD_BYTES, TRANSPORT_STREAM_SUFFIX, VIDEO_SUFFIXES, is_transport_stream
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


Source = str | Path | InMemoryImage
"""A file, folder, pattern, address, camera number as text, `-` for a list on standard input, or an image in memory."""

_Item = TypeVar("_Item")

STANDARD_INPUT = "-"
_MAX_LINE_BYTES = 2**16
_MAX_DIGITS = 3
"""Of the number of a camera."""


class Shard(NamedTuple):
    """One of several equal parts of all sources, for processes that share a run."""

    number: int = 1
    """From 1 on."""
    total: int = 1

    def take(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Of 16 parts, the third has items 3, 19, 35, ..."""
        return islice(items, self.number - 1, None, self.total)

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From 3/16.

        Raises:
            ValueError: for any other form, or a number that is not among them.
        """
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InvalidValueError(f"no shard {text!r}; write 3/16 for the third of sixteen")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


WHOLE = Shard()


def find_sources(sources: Sequence[Source], settings: InputLimits = DEFAULTS) -> Iterator[Source | SourceFailure]:
    """Replace folders, patterns and the list on standard input by what they stand for, as it is asked for.

    What is not there is a line in its place.

    Raises:
        SourceError: at once, if nothing is named, a name is empty, or nothing is there.
        TypeError: at once, if something is named that can be no source.
    """
    if not sources:
        raise SourceError("no source; name images, folders, videos, addresses or a camera")
    for source in sources:
        if isinstance(source, str) and not source.strip():
            raise SourceError("a source is empty; name an image, video, folder or address (. is the current folder)")
        if not isinstance(source, Source):
            raise TypeError(
                "a source is a path, an address, a camera number as text, an array, a tensor or a Pillow"
                f" image, not {type(source).__name__}"
            )
    if all(_is_missing(source, settings) for source in sources):
        problem = next(_expand(sources[0], settings))
        assert isinstance(problem, SourceFailure)
        raise SourceError(problem.problem)
    return (resolved for source in sources for resolved in _expand(source, settings))


def is_camera(source: Source) -> bool:
    """Whether a source is the number of a camera, and not the name of a file."""
    is_number = isinstance(source, str) and source.isdecimal() and source.isascii() and len(source) <= _MAX_DIGITS
    return is_number and not Path(str(source)).exists()


def _is_missing(source: Source, settings: InputLimits) -> bool:
    if _is_standard_input(source):
        return False  # it can be read only once
    return all(isinstance(resolved, SourceFailure) for resolved in _expand(source, settings))


def _is_standard_input(source: Source) -> bool:
    return isinstance(source, str) and source == STANDARD_INPUT


def _expand(source: Source, settings: InputLimits) -> Iterator[Source | SourceFailure]:
    """The files or addresses of a source: at least one, or a failure that says why there is none."""
    if not isinstance(source, str | Path) or is_camera(source):
        yield source
    elif source == STANDARD_INPUT:
        yield from _read_standard_input(settings)
    elif isinstance(source, str) and (scheme := scheme_of(source)):
        if scheme in (*WEB_SCHEMES, *STREAM_SCHEMES):
            yield source
        else:
            name = without_password(source)
            known = ", ".join((*WEB_SCHEMES, *STREAM_SCHEMES))
            yield SourceFailure(name, f"{name}: no {scheme} addresses are read, only {known}; name files by their path")
    else:
        yield from _expand_path(source, settings)


def _expand_path(source: str | Path, settings: InputLimits) -> Iterator[Path | SourceFailure]:
    path = Path(source)
    if exists_safely(path.is_dir):
        resolved = search_folder(path, settings.excluded_folders)
        first = next(resolved, SourceFailure(str(path), f"no images or videos in the folder {path}, nor below it"))
        yield from chain([first], resolved)
    elif exists_safely(path.is_file):
        yield path
    elif isinstance(source, str) and is_pattern(source):
        matches = match_pattern(source, settings.excluded_folders)
        first = next(matches, SourceFailure(source, f"no file or folder matches {source}; check the pattern"))
        for match in chain([first], matches):
            if isinstance(match, Path) and exists_safely(match.is_dir):
                yield from search_folder(match, settings.excluded_folders)
            else:
                yield match
    elif exists_safely(path.is_symlink):
        yield SourceFailure(str(path), f"{path} is a link that leads to nothing, or back to itself; check the link")
    else:
        yield SourceFailure(str(path), f"no image, video or folder at {path}; check the path")


def _read_standard_input(settings: InputLimits) -> Iterator[Source | SourceFailure]:
    """The sources of a list, one a line, as the lines come."""
    if sys.stdin is None:
        yield SourceFailure(STANDARD_INPUT, "standard input is closed; write names of sources to it, one a line")
        return
    # Not through its buffer: a thread that waits there keeps Python from ending.
    lines = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    while line := lines.readline(_MAX_LINE_BYTES + 1):
        if b"\0" in line or len(line) > _MAX_LINE_BYTES:
            yield SourceFailure(
                STANDARD_INPUT, "standard input is no list of sources, one a line; write names, not images, to it"
            )
            return
        name = os.fsdecode(line).rstrip("\r\n")
        if name == STANDARD_INPUT:
            yield SourceFailure(STANDARD_INPUT, "the list on standard input names itself (-); leave that line out")
        elif name.strip():
            yield from _expand(name, settings)
