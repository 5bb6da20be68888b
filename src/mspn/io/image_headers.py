"""What the header of an image file says: format, size, orientation, number of frames; nothing is decoded."""

import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mspn.errors import ImageError
from mspn.io.av1 import largest_coded_size
from mspn.structures.boxes import Size

TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
"""EXIF orientations in which width and height trade places."""
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _EXTRA_SAMPLES = 258, 277, 338
_ASSOCIATED, _UNASSOCIATED = 1, 2
"""Kinds of opacity: colors are stored times it, or as they are."""
_WIDTH, _HEIGHT, _STRIP_HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, _KIND_OF_PAGE = 256, 257, 278, 322, 323, 254
"""Tags of TIFF."""
_MAX_PIECES = 2**16
"""Segments, chunks or pages that are looked at; more could keep us busy for hours."""
_BOXES_BYTES = 2**20
"""Most of EXIF, and of the start of an AVIF or HEIC file, in which the boxes that describe it stand."""


@dataclass(frozen=True)
class ImageHeader:
    """What is known of an image file before it is decoded."""

    format: str
    """jpeg, png, webp, bmp, tiff, gif, avif or heic."""
    size: Size
    """Of the image as it is stored, the largest part of it for AVIF and HEIC."""
    orientation: int = 1
    """How the image is stored, as EXIF counts: 1 (upright) to 8."""
    num_frames: int = 1
    """Pages of a TIFF, frames of an animation."""
    may_be_transparent: bool = False
    is_premultiplied: bool = False
    """Of a TIFF: whether its decoder gives colors that are multiplied by their opacity."""
    transparent_gray: int | None = None
    """Of a gray PNG without opacities: the stored value that is transparent."""
    depth: int = 8
    """Bits of a channel, of PNG and TIFF."""
    num_channels: int = 3
    """Of JPEG and TIFF."""
    scan_start: int = 0
    """Of a JPEG: where its compressed pixels start."""
    orientation_position: int | None = None
    """Of a TIFF: where its orientation stands."""
    is_cut_short: bool = False
    """Of a PNG: whether a chunk is longer than the rest of the file; decoders would make room for it first."""
    largest_block: int = 0
    """Pixels of a tile or strip, of TIFF and AVIF, which decoders keep whole in memory, however small the image."""

    @property
    def upright_size(self) -> Size:
        height, width = self.size
        return Size(width, height) if self.orientation in TRANSPOSED_ORIENTATIONS else self.size


def read_header(file: IO[bytes]) -> ImageHeader | None:
    """The header of an image file that is open for reading; None for what is no such file, or damaged there."""
    file.seek(0)
    head = file.read(32)
    read = next((read for sign, read in _FORMATS.items() if sign.match(head)), None)
    try:
        header = read(file) if read else None
    except (struct.error, OverflowError):
        return None
    return header if header and header.size.height and header.size.width else None


def read_size(path: Path) -> Size:
    """Height and width of an image, upright as its EXIF orientation says, from its header alone.

    Raises:
        ImageError: if there is no file, or it is no JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC.
    """
    if not path.is_file():
        raise ImageError(f"no image at {path}; check the path")
    with path.open("rb") as file:
        header = read_header(file)
    if header is None:
        raise ImageError(f"{path} has no header of an image that can be read; convert it to JPEG or PNG")
    return header.upright_size


def _read_jpeg(file: IO[bytes]) -> ImageHeader | None:
    size, num_channels, orientation, position = Size(0, 0), 3, 1, 2
    for _ in range(_MAX_PIECES):
        start, marker = unpack("BB", file, position)
        if start != 0xFF:
            return None
        if marker == 0xFF:  # padding
            position += 1
            continue
        (length,) = unpack(">H", file)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            _precision, *sides, num_channels = unpack(">BHHB", file)
            size = Size(*sides)
        elif marker == 0xE1 and orientation == 1:
            segment = file.read(max(0, length - 2))
            orientation = exif_orientation(segment) if segment.startswith(EXIF_PREFIX) else 1
        position += 2 + length
        if marker == 0xDA:
            return ImageHeader("jpeg", size, orientation, num_channels=num_channels, scan_start=position)
    return None


def _read_png(file: IO[bytes]) -> ImageHeader:
    width, height, depth, color_type = unpack(">IIBB", file, 16)
    num_frames, orientation, is_transparent, transparent_gray, end = 1, 1, color_type in (4, 6), None, 0
    for kind, start, length in _chunks(file, 8, is_png=True):
        if kind == b"acTL" and length >= 8:
            (num_frames,) = unpack(">I", file, start)
        elif kind == b"tRNS":
            is_transparent = True
            if color_type == 0 and length >= 2:
                (transparent_gray,) = unpack(">H", file, start)
        elif kind == b"eXIf":  # may stand behind the pixels
            orientation = exif_orientation(_read_at(file, start, length))
        end = start + length
    return ImageHeader(
        "png",
        Size(height, width),
        orientation,
        max(1, num_frames),
        is_transparent,
        transparent_gray=transparent_gray,
        depth=depth,
        is_cut_short=end > file.seek(0, io.SEEK_END),
    )


def _read_webp(file: IO[bytes]) -> ImageHeader | None:
    (kind,) = struct.unpack("4s", _read_at(file, 12, 4))
    if kind == b"VP8 ":
        width, height = (value & 0x3FFF for value in unpack("<HH", file, 26))
        return ImageHeader("webp", Size(height, width))
    if kind == b"VP8L":
        (bits,) = unpack("<I", file, 21)
        size = Size((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
        return ImageHeader("webp", size, may_be_transparent=bool(bits >> 28 & 1))
    if kind != b"VP8X":
        return None
    (flags,) = unpack("B", file, 20)
    width, height = (int.from_bytes(_read_at(file, start, 3), "little") + 1 for start in (24, 27))
    orientation, num_frames = 1, 0
    for kind, start, length in _chunks(file, 12, is_png=False):
        num_frames += kind == b"ANMF"
        if kind == b"EXIF":
            orientation = exif_orientation(_read_at(file, start, length))
    return ImageHeader("webp", Size(height, width), orientation, max(1, num_frames), bool(flags & 0x10))


def _read_bmp(file: IO[bytes]) -> ImageHeader:
    (header_bytes,) = unpack("<I", file, 14)
    # The header of OS/2 has 16 bits for a side.
    width, height, _planes, depth = unpack("<HHHH" if header_bytes == 12 else "<iiHH", file)
    return ImageHeader("bmp", Size(abs(height), abs(width)), may_be_transparent=depth == 32)


def _read_gif(file: IO[bytes]) -> ImageHeader:
    width, height = unpack("<HH", file, 6)
    return ImageHeader("gif", Size(height, width), may_be_transparent=True)


def _read_tiff(file: IO[bytes]) -> ImageHeader | None:
    first, num_pages = None, 0
    seen: set[int] = set()
    order = "<" if _read_at(file, 0, 2) == b"II" else ">"
    (position,) = unpack(order + "I", file, 4)
    while position and position not in seen and len(seen) < _MAX_PIECES:
        seen.add(position)
        try:
            page = read_directory(file, position, order)
        except struct.error:
            if first is None:
                raise
            break
        first = first or page
        num_pages += not page.values.get(_KIND_OF_PAGE, 0) & 0b101  # smaller versions and masks of a page are none
        position = page.next
    if first is None:
        return None
    values = first.values
    size = Size(values.get(_HEIGHT, 0), values.get(_WIDTH, 0))
    depth = values.get(_BITS_PER_SAMPLE, 1)
    block_height, block_width = values.get(_TILE_HEIGHT), values.get(_TILE_WIDTH, size.width)
    return ImageHeader(
        "tiff",
        size,
        valid_orientation(values.get(ORIENTATION, 1)),
        max(1, num_pages),
        may_be_transparent=_EXTRA_SAMPLES in values or values.get(_SAMPLES_PER_PIXEL, 1) in (2, 4),
        is_premultiplied=values.get(_EXTRA_SAMPLES) in ((_ASSOCIATED, _UNASSOCIATED) if depth == 8 else (_ASSOCIATED,)),
        depth=depth,
        num_channels=values.get(_SAMPLES_PER_PIXEL, 1),
        orientation_position=first.positions.get(ORIENTATION),
        largest_block=block_width * (block_height or min(values.get(_STRIP_HEIGHT, size.height), size.height)),
    )


_PART_SIZE = re.compile(rb"ispe\0\0\0\0(.{8})", re.DOTALL)
_NUM_SAMPLES = re.compile(rb"stsz.{8}(.{4})", re.DOTALL)
_ROTATION = re.compile(rb"\0\0\0\x09irot(.)", re.DOTALL)
_MIRRORING = re.compile(rb"\0\0\0\x09imir(.)", re.DOTALL)
_ORIENTATIONS = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}
"""EXIF's numbers for a mirroring (none, top to bottom, left to right) after 0 to 3 quarter turns counterclockwise."""


def _read_avif(file: IO[bytes]) -> ImageHeader | None:
    """AVIF or HEIC; turned by their own boxes, as the standard says, and not by their EXIF."""
    boxes = _read_at(file, 0, _BOXES_BYTES)
    (length,) = struct.unpack_from(">I", boxes)
    brands = {boxes[start : start + 4] for start in range(8, min(length, 256), 4)}
    if not brands & _AVIF_BRANDS and not brands & _HEIC_BRANDS:
        return None
    sizes = [Size(*reversed(struct.unpack(">II", match[1]))) for match in _PART_SIZE.finditer(boxes)]
    coded = largest_coded_size(file, boxes) if brands & _AVIF_BRANDS else Size(0, 0)
    turns, mirrored = _ROTATION.search(boxes), _MIRRORING.search(boxes)
    axis = mirrored[1][0] & 1 if mirrored else None
    num_frames = [int.from_bytes(match[1], "big") for match in _NUM_SAMPLES.finditer(boxes)]
    return ImageHeader(
        "avif" if brands & _AVIF_BRANDS else "heic",
        max(sizes, key=lambda size: size.height * size.width, default=Size(0, 0)),
        _ORIENTATIONS[axis][turns[1][0] & 3 if turns else 0],
        max(num_frames, default=1) if boxes[8:12] == b"avis" else 1,
        may_be_transparent=b":auxiliary:alpha" in boxes or b":auxid:1\0" in boxes,
        largest_block=coded.height * coded.width,
    )


def _chunks(file: IO[bytes], position: int, *, is_png: bool) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each chunk of a PNG (length first, a checksum behind) or a WebP (padded)."""
    for _ in range(_MAX_PIECES):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        kind, length = (head[4:], head[:4]) if is_png else (head[:4], head[4:])
        num_bytes = int.from_bytes(length, "big" if is_png else "little")
        yield kind, position + 8, num_bytes
        position += 8 + num_bytes + (4 if is_png else num_bytes % 2)


def _read_at(file: IO[bytes], start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(min(length, _BOXES_BYTES))


_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_FORMATS: dict[re.Pattern[bytes], Callable[[IO[bytes]], ImageHeader | None]] = {
    re.compile(rb"\xff\xd8"): _read_jpeg,
    re.compile(rb"\x89PNG\r\n\x1a\n"): _read_png,
    re.compile(rb"RIFF.{4}WEBP", re.DOTALL): _read_webp,
    re.compile(rb"BM"): _read_bmp,
    re.compile(rb"II\*\0|MM\0\*"): _read_tiff,
    re.compile(rb"GIF8"): _read_gif,
    re.compile(rb".{4}ftyp", re.DOTALL): _read_avif,
}
"""How each format begins."""


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
