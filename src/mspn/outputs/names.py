"""Names of the files that writers make for each image: those of the images, with their sub-folders."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from mspn.sources.resolve import STANDARD_INPUT, Source, exists_safely, is_pattern, pattern_folder
from mspn.structures.image import Image

logger = logging.getLogger(__name__)

_ADDRESS = "://"
_FRAME_DIGITS = 6
_UNNAMED = "image"
_MAX_BYTES = 250
"""File systems take 255, of which the suffix needs some."""


def common_folder(sources: Sequence[Source]) -> Path:
    """The deepest folder that holds all files that a user names, which their names in results are relative to.

    A folder or pattern counts as a whole: for `photos` alone it is `photos`. It is the current folder for a list on
    standard input, and where nothing named is a file.
    """
    named = [source for source in sources if isinstance(source, str | Path)]
    folders = [folder for source in named if (folder := _folder_of(source)) is not None]
    try:
        common = os.path.commonpath([_absolute(folder) for folder in folders])
        # A relative one still holds where the whole folder has moved.
        return Path(common) if any(folder.is_absolute() for folder in folders) else Path(os.path.relpath(common))
    except ValueError:  # none, or on several drives
        return Path()


def _folder_of(source: str | Path) -> Path | None:
    path = Path(source)
    if exists_safely(path.is_dir):
        return path
    if exists_safely(path.is_file):
        return path.parent
    if source == STANDARD_INPUT:
        return Path()
    if isinstance(source, str) and _ADDRESS not in source and is_pattern(source):
        return pattern_folder(source)
    return None


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)


class FileNames:
    """Gives each image and frame the name of its source without suffix: `sub/beach`, `match-000123`.

    Two that would share a name (`beach.jpg` and `beach.png`) get different ones, of which the log tells: the second
    keeps its suffix (`beach.png`), or gets a number.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Start without names.

        Args:
            folder: what names are relative to, see `common_folder`; None: they have no folders.
        """
        self._folder = folder
        self._owners: dict[str, str] = {}
        """Sources by the names that they have."""
        self._reported: set[str] = set()

    def choose(self, image: Image) -> str:
        """A name that no other image has."""
        frame = "" if image.frame is None else f"-{image.frame.index:0{_FRAME_DIGITS}}"
        return self.choose_for(image.source, frame)

    def choose_for(self, source: str, ending: str = "") -> str:
        """A name for a source as a whole, or with an ending for a part of it; the same if it is asked for again."""
        candidates = self._candidates(source, ending)
        first = name = next(candidates)
        while self._is_taken(name, source):
            name = next(candidates)
        self._owners[name.casefold()] = source
        if name != first and source and source not in self._reported:
            self._reported.add(source)
            owner = self._owners[first.casefold()]
            logger.warning("%s: results are named %s, because those of %s are named %s", source, name, owner, first)
        return name

    def _is_taken(self, name: str, source: str) -> bool:
        # File systems may not tell A from a.
        owner = self._owners.get(name.casefold())
        return owner is not None and (owner != source or not source)  # images in memory all have the empty source

    def _candidates(self, source: str, ending: str) -> Iterator[str]:
        path = relative_name(source, self._folder)
        yield _fit(path.with_suffix(""), ending)
        if path.suffix:
            yield _fit(path, ending)
        number = 2
        while True:
            yield _fit(path.with_suffix(""), f"{ending}-{number}")
            number += 1


def relative_name(source: str, folder: Path | None) -> PurePosixPath:
    """A source's path below a folder, or its whole path if it is elsewhere; the name alone without a folder.

    Of an address it is the name of the file too.
    """
    if _ADDRESS in source:
        name = re.sub(r"[^\w.\-]+", "_", PurePosixPath(urlsplit(source).path).name).lstrip(".")
        return PurePosixPath(name or _UNNAMED)
    path = Path(source)
    if source and folder is not None:
        absolute, base = _absolute(path), _absolute(folder)
        if absolute.is_relative_to(base) and absolute != base:
            path = absolute.relative_to(base)
    parts = [part for part in path.parts if part not in (path.anchor, os.pardir)]
    if folder is None:
        parts = parts[-1:]
    return PurePosixPath(*parts) if parts else PurePosixPath(_UNNAMED)


def _fit(path: PurePosixPath, ending: str) -> str:
    """The path with an ending, its last part cut off at the length that file systems take."""
    name = os.fsencode(path.name)
    most = _MAX_BYTES - len(ending)
    kept = path.name if len(name) <= most else name[:most].decode(errors="ignore")
    return str(path.with_name(kept + ending))
