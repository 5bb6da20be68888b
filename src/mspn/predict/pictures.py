"""Picture files that are named one by one or by their folder."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mspn.images import PICTURE_SUFFIXES, PictureError, read_picture
from mspn.picture import Picture, Unreadable


def find_pictures(sources: Sequence[str | Path]) -> list[Path]:
    """Pictures that the sources name: files as they are, folders searched one level deep, sorted by name.

    Raises:
        FileNotFoundError: for a source that does not exist, or a folder without pictures.
    """
    pictures: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            inside = sorted(path for path in source.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
            if not inside:
                raise FileNotFoundError(f"no pictures in {source} (looked for {', '.join(sorted(PICTURE_SUFFIXES))})")
            pictures += inside
        elif source.is_file():
            pictures.append(source)
        else:
            raise FileNotFoundError(f"no picture or folder at {source}; check the path")
    return pictures


def read_pictures(paths: Iterable[Path]) -> Iterator[Picture | Unreadable]:
    """Read picture files one by one; one that cannot be read is said to be unreadable in its place."""
    for path in paths:
        try:
            yield Picture(str(path), read_picture(path))
        except (PictureError, OSError) as error:
            yield Unreadable(str(path), str(error))
