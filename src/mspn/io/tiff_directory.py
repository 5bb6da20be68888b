"""The tags of a page of a TIFF file, and those of EXIF, which are stored in the same way."""

import io
import struct
from dataclasses import dataclass
from typing import IO

ORIENTATION = 274
"""Tag of how an image is stored."""
EXIF_PREFIX = b"Exif\0\0"
_SHORT = 3
"""Kind of a number of 16 bits."""


@dataclass(frozen=True)
class Directory:
    """A page of a TIFF, or the tags of EXIF."""

    values: dict[int, int]
    """The first value of each tag, those of 16 or 32 bits."""
    positions: dict[int, int]
    """Where these stand."""
    next: int
    """Position of the next one; 0 if there is none."""


def unpack(layout: str, file: IO[bytes], position: int | None = None) -> tuple[int, ...]:
    if position is not None:
        file.seek(position)
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def read_directory(file: IO[bytes], position: int, order: str) -> Directory:
    (num_tags,) = unpack(order + "H", file, position)
    entries = file.read(12 * num_tags)
    values, positions = {}, {}
    following = file.read(4)
    for start in range(0, 12 * num_tags, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", entries, start)
        positions[tag] = position + 2 + start + 8
        if kind == _SHORT and count > 2:  # these have no room in the directory
            (positions[tag],) = struct.unpack_from(order + "I", entries, start + 8)
            (values[tag],) = unpack(order + "H", file, positions[tag])
        else:
            (values[tag],) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), entries, start + 8)
    return Directory(values, positions, struct.unpack(order + "I", following)[0] if len(following) == 4 else 0)


def exif_orientation(exif: bytes) -> int:
    """1 (upright) where EXIF is damaged: decoders see none there, too."""
    file = io.BytesIO(exif.removeprefix(EXIF_PREFIX))
    try:
        order = "<" if file.read(2) == b"II" else ">"
        (position,) = unpack(order + "I", file, 4)
        return valid_orientation(read_directory(file, position, order).values.get(ORIENTATION, 1))
    except struct.error:
        return 1


def valid_orientation(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1
