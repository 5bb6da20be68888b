"""Images with the poses drawn on them."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from mspn.io.images import write_jpeg
from mspn.predict.pipeline import ImageResult
from mspn.structures.image import Image
from mspn.visualize.draw import draw_poses
from mspn.visualize.themes import DEFAULT_THEME, Theme


class ImageWriter:
    """`images/`: each image with its skeletons drawn, as a JPEG; frames of videos are `NAME-000123.jpg`."""

    FOLDER = "images"

    def __init__(self, folder: Path, theme: Theme = DEFAULT_THEME) -> None:
        self.folder = folder / self.FOLDER
        self._theme = theme
        self._names = FileNames()

    def write(self, result: ImageResult) -> None:
        if result.image is not None:
            drawn = draw_poses(result.image.pixels, result.poses, self._theme)
            write_jpeg(self.folder / f"{self._names.choose(result.image)}.jpg", drawn)

    def close(self) -> None:
        pass


_FRAME_DIGITS = 6
_MAX_BYTES = 200
"""File systems take 255, of which suffixes and numbers need some."""


class FileNames:
    """Gives each image and frame a unique name without suffix: `beach`, `match-000123`.

    Those of the same name from several folders get numbers: `beach-2`.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def choose(self, image: Image) -> str:
        """A name that no other image has."""
        frame = "" if image.frame is None else f"-{image.frame.index:0{_FRAME_DIGITS}}"
        return self.choose_for(image.source, frame)

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
    return plain.encode()[:_MAX_BYTES].decode(errors="ignore") or "image"
