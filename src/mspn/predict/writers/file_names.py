"""Names of files that are made from pictures and frames."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from mspn.picture import Picture

_FRAME_DIGITS = 6
_MOST_BYTES = 200
"""File systems take 255, of which suffixes and numbers need some."""


class FileNames:
    """Gives each picture and frame a name of its own, without suffix: `beach`, `match-000123`.

    Those of the same name from several folders get numbers: `beach-2`.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def choose(self, picture: Picture) -> str:
        """A name that no other picture has."""
        frame = "" if picture.moment is None else f"-{picture.moment.frame:0{_FRAME_DIGITS}}"
        return self.choose_for(picture.source, frame)

    def choose_for(self, source: str, ending: str = "") -> str:
        """A name for a source as a whole, or with an ending for a part of it."""
        stem = file_stem(source) + ending
        name, number = stem, 1
        # File systems may not tell A from a.
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name.lower())
        return name


def file_stem(source: str) -> str:
    """The source's own name without folders, suffix and letters that file systems may refuse."""
    name = urlsplit(source).path if "://" in source else source
    plain = re.sub(r"[^\w.\-]+", "_", Path(name).stem).lstrip(".")
    return plain.encode()[:_MOST_BYTES].decode(errors="ignore") or "picture"
