"""Size and orientation of an image, from the header of its file alone."""

import re
import struct
from pathlib import Path

from mspn.errors import ImageError
from mspn.structures.boxes import Size

_MAX_HEADER_BYTES = 2**20
_ORIENTATION = 274
_PART_SIZE = re.compile(rb"ispe\0\0\0\0")
TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
"""EXIF orientations in which width and height trade places."""


def is_jpeg(encoded: bytes) -> bool:
    return encoded.startswith(b"\xff\xd8")


def declared_size(encoded: bytes) -> Size | None:
    """Size that a PNG, WebP, BMP, TIFF, GIF or AVIF header declares; None for what is no such header."""
    try:
        if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack(">II", encoded[16:24])
        elif encoded[8:16] == b"WEBPVP8 ":
            width, height = (value & 0x3FFF for value in struct.unpack("<HH", encoded[26:30]))
        elif encoded[8:16] == b"WEBPVP8L":
            (bits,) = struct.unpack("<I", encoded[21:25])
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif encoded[8:16] == b"WEBPVP8X":
            width = int.from_bytes(encoded[24:27], "little") + 1
            height = int.from_bytes(encoded[27:30], "little") + 1
        elif encoded.startswith(b"BM"):
            width, height = struct.unpack("<ii", encoded[18:26])
        elif encoded[:4] in (b"II*\0", b"MM\0*"):
            width, height = _tiff_size(encoded)
        elif encoded.startswith(b"GIF8"):
            width, height = struct.unpack("<HH", encoded[6:10])
        elif encoded[4:8] == b"ftyp":
            width, height = _largest_part(encoded)
        else:
            return None
    except struct.error:
        return None
    return Size(abs(height), abs(width)) if width and height else None


def _largest_part(encoded: bytes) -> tuple[int, int]:
    """Width and height of an AVIF or HEIC image, which says them of each of its parts; 0 where it says none."""
    sizes = [struct.unpack_from(">II", encoded, match.end()) for match in _PART_SIZE.finditer(encoded)]
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


def _tiff_size(encoded: bytes) -> tuple[int, int]:
    """Width and height of the first directory of tags; 0 where they do not stand there."""
    tags = _tiff_tags(encoded)
    return tags.get(256, 0), tags.get(257, 0)


def _tiff_tags(encoded: bytes) -> dict[int, int]:
    """The first value of each tag of the first directory, those that are 16 or 32 bits wide."""
    order = "<" if encoded.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", encoded, 4)
    (num_tags,) = struct.unpack_from(order + "H", encoded, directory)
    tags = {}
    for position in range(directory + 2, directory + 2 + 12 * num_tags, 12):
        tag, kind = struct.unpack_from(order + "HH", encoded, position)
        (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), encoded, position + 8)
    return tags


def has_end_of_image(encoded: bytes, scan_start: int) -> bool:
    # Searched from the scan on, since a thumbnail has an end marker of its own, and backwards, since it is the last.
    return encoded.rfind(b"\xff\xd9", scan_start) != -1


def jpeg_header(encoded: bytes) -> tuple[Size | None, int]:
    """The declared size, and where the first scan (the compressed pixels) starts."""
    size = None
    position = 2
    while position + 4 <= len(encoded) and encoded[position] == 0xFF:
        marker = encoded[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        (length,) = struct.unpack(">H", encoded[position + 2 : position + 4])
        is_frame_header = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame_header and position + 9 <= len(encoded):
            size = Size(*struct.unpack(">HH", encoded[position + 5 : position + 9]))
        position += 2 + length
        if marker == 0xDA:
            break
    return size, position


def read_size(path: Path) -> Size:
    """Height and width of an image, upright as its EXIF orientation says, from its header alone.

    Raises:
        ImageError: if there is no file, or it is no JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF.
    """
    if not path.is_file():
        raise ImageError(f"no image at {path}; check the path")
    with path.open("rb") as file:
        encoded = file.read(_MAX_HEADER_BYTES)
    try:
        size = jpeg_header(encoded)[0] if is_jpeg(encoded) else declared_size(encoded)
    except struct.error:
        size = None
    if size is None:
        raise ImageError(f"{path} has no header of an image that can be read; convert it to JPEG or PNG")
    return Size(size.width, size.height) if exif_orientation(encoded) in TRANSPOSED_ORIENTATIONS else size


def exif_orientation(encoded: bytes) -> int:
    """How a JPEG is stored, 1 (upright) to 8; OpenCV turns other formats too rarely to matter.

    Damaged EXIF is none: decoders see it so, too.
    """
    try:
        start = encoded.find(b"Exif\0\0", 0, jpeg_header(encoded)[1]) if is_jpeg(encoded) else -1
        orientation = 1 if start < 0 else _tiff_tags(encoded[start + 6 :]).get(_ORIENTATION, 1)
    except struct.error:
        return 1
    return orientation if 1 <= orientation <= 8 else 1
