"""Rules about picture files: whether they are there, whole, and as large as the labels say."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mspn.data.checks.findings import Finding
from mspn.data.labels import LabelledPicture
from mspn.images import ON_THEIR_SIDE, PictureError, exif_orientation, read_picture
from mspn.records import Size

PICTURE_KINDS = ("missing_picture", "unreadable_picture", "wrong_size", "rotated_picture", "same_picture")
"""Kinds of findings that only the pictures' files show."""
_AT_ONCE = 256
"""Pictures that are handed to the workers together, so that an interruption is answered soon."""


@dataclass(frozen=True)
class PictureFile:
    """What was found where a picture should be."""

    picture: LabelledPicture
    size: Size | None = None
    """Of the upright picture; None where it cannot be read."""
    orientation: int = 1
    """As EXIF counts; 1 is upright."""
    digest: bytes = b""
    """Of the file's bytes."""
    problem: Finding | None = None
    """Why it cannot be read."""


def scan_pictures(pictures: Sequence[LabelledPicture], folder: Path, num_workers: int) -> Iterator[PictureFile]:
    """Decode every picture once, in order; threads, since decoding and hashing run outside Python's lock."""
    with ThreadPoolExecutor(num_workers) as workers:
        for start in range(0, len(pictures), _AT_ONCE):
            yield from workers.map(lambda picture: _scan(picture, folder), pictures[start : start + _AT_ONCE])


def check_pictures(files: Sequence[PictureFile]) -> Iterator[Finding]:
    """Files that are missing, damaged, of another size than labelled, turned by their EXIF, or alike to the byte."""
    first_with: dict[bytes, LabelledPicture] = {}
    for file in files:
        picture = file.picture
        if file.problem is not None:
            yield file.problem
        if file.size is None:
            continue
        if picture.size is not None and picture.size != file.size:
            yield Finding("wrong_size", _compare_sizes(file.size, picture.size, file), picture.file_name, picture.id)
        elif file.orientation != 1:
            words = f"stored turned (EXIF orientation {file.orientation}); programs that ignore it see another picture"
            yield Finding("rotated_picture", words, picture.file_name, picture.id)
        first = first_with.setdefault(file.digest, picture)
        if first.file_name != picture.file_name:
            yield Finding("same_picture", f"the same bytes as {first.file_name}", picture.file_name, picture.id)


def _compare_sizes(size: Size, labelled: Size, file: PictureFile) -> str:
    words = f"the picture has {size.width}x{size.height} pixels, the labels say {labelled.width}x{labelled.height}"
    if file.orientation in ON_THEIR_SIDE and labelled == (size.width, size.height):
        words += f"; it was labelled as it is stored, not upright (EXIF orientation {file.orientation})"
    return words


def _scan(picture: LabelledPicture, folder: Path) -> PictureFile:
    path = folder / picture.file_name
    if not path.is_file():
        words = f"no picture at {path}; is --images the folder that holds it?"
        return PictureFile(picture, problem=Finding("missing_picture", words, picture.file_name, picture.id))
    try:
        height, width, _ = read_picture(path).shape
        encoded = path.read_bytes()
    except (PictureError, OSError) as error:
        return PictureFile(picture, problem=Finding("unreadable_picture", str(error), picture.file_name, picture.id))
    return PictureFile(picture, Size(height, width), exif_orientation(encoded), hashlib.sha256(encoded).digest())
