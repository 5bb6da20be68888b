"""Reading pictures safely: whatever the file holds, out comes RGB uint8."""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.records import Size

MAX_FILE_BYTES = 512 * 2**20
MAX_PIXELS = 100_000_000
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""What a folder is searched for; a file that is named outright may have any suffix."""
_LARGEST_HEADER_BYTES = 2**20
_ORIENTATION = 274
_PART_SIZE = re.compile(rb"ispe\0\0\0\0")
ON_THEIR_SIDE = (5, 6, 7, 8)
"""EXIF orientations in which width and height trade places."""


class PictureError(ValueError):
    """A file that cannot be read as a picture."""


@dataclass(frozen=True, eq=False)
class ReducedPicture:
    """A picture, or a smaller version of it."""

    pixels: UInt8[np.ndarray, "H W 3"]
    """RGB."""
    reduction: int
    """1, 2, 4 or 8: pixel i stands for the picture's pixels reduction * i to reduction * i + reduction - 1, along both
    sides; where a side is no multiple of the reduction, its last pixel reaches beyond the picture."""


def read_picture(path: Path, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Read a picture as RGB, upright as its EXIF orientation says.

    Grey is repeated over the channels, 16-bit is scaled to 8-bit, CMYK is converted, transparency is laid on white
    (the EXIF orientation of a picture with transparency is not applied).

    Raises:
        PictureError: if there is no file, it is no picture, it is cut short, or it has more than max_pixels.
    """
    return read_reduced_picture(path, 1, max_pixels).pixels


def allowed_reduction(factor: float) -> int:
    """The largest reduction up to a factor: 1, 2, 4 or 8."""
    return next((reduction for reduction in _REDUCTION_FLAGS if reduction <= factor), 1)


def read_reduced_picture(path: Path, largest_reduction: float, max_pixels: int = MAX_PIXELS) -> ReducedPicture:
    """Read a picture as `read_picture` does, a JPEG at a fraction of its size, which takes a fraction of the time.

    Args:
        path: of the picture.
        largest_reduction: that still serves; a smaller one may come out, and other formats come out whole.
        max_pixels: of the picture as it was before the reduction.

    Raises:
        PictureError: as `read_picture`.
    """
    if not path.is_file():
        raise PictureError(f"no picture at {path}; check the path")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise PictureError(f"{path} is larger than {MAX_FILE_BYTES // 2**20} MiB; make it smaller first")
    return _decode_picture(path.read_bytes(), str(path), largest_reduction, max_pixels)


def decode_picture(encoded: bytes, name: str, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Decode the bytes of a whole picture file, see `read_picture`; `name` is what errors call it."""
    return _decode_picture(encoded, name, 1, max_pixels).pixels


def _decode_picture(encoded: bytes, name: str, largest_reduction: float, max_pixels: int) -> ReducedPicture:
    # Sizes are checked before decoding, since a few bytes can declare gigabytes of pixels; what declares none in a form
    # that is known is not decoded.
    scan_start = 0
    if _is_jpeg(encoded):
        size, scan_start = _jpeg_header(encoded)
    else:
        size = _declared_size(encoded)
    if size is not None:
        _refuse_large(size, name, max_pixels)
    if _is_jpeg(encoded) and not _has_end_of_image(encoded, scan_start):
        raise PictureError(f"{name} is cut short (a JPEG without its end); copy or download it again")
    if size is None:
        raise _unreadable(name)
    reduction = _jpeg_reduction(encoded[:scan_start], size, largest_reduction) if _is_jpeg(encoded) else 1
    pixels = _decode(encoded, _REDUCTION_FLAGS[reduction])
    if pixels is None:
        raise _unreadable(name)
    _refuse_large(Size(*pixels.shape[:2]), name, max_pixels)
    if _may_be_transparent(encoded):
        unchanged = _decode(encoded, cv2.IMREAD_UNCHANGED)
        if unchanged is not None and unchanged.ndim == 3 and unchanged.shape[2] == 4:
            return ReducedPicture(_on_white(unchanged), reduction)
    return ReducedPicture(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), reduction)


_REDUCTION_FLAGS = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


def _jpeg_reduction(header: bytes, size: Size, largest: float) -> int:
    """The largest reduction up to `largest` that leaves pixels where `ReducedPicture` says."""
    # Turned upright, a picture may have its last, incomplete pixels in front.
    may_turn = b"Exif\0\0" in header
    for reduction in _REDUCTION_FLAGS:
        is_exact = not may_turn or all(side % reduction == 0 for side in size)
        if reduction <= largest and is_exact:
            return reduction
    return 1


def _decode(encoded: bytes, flags: int) -> np.ndarray | None:
    if not encoded:
        return None
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        return None


def _unreadable(name: str) -> PictureError:
    return PictureError(f"{name} is not a picture that can be read, or it is damaged; convert it to JPEG or PNG")


def _refuse_large(size: Size, name: str, max_pixels: int) -> None:
    if size.height * size.width > max_pixels:
        raise PictureError(
            f"{name} has {size.width}x{size.height} pixels, above the limit of {max_pixels:,}; make it smaller first"
        )


def _on_white(bgra: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    peak = np.iinfo(bgra.dtype).max
    values = bgra.astype(np.float32) / peak
    opacity = values[..., 3:]
    rgb = values[..., 2::-1] * opacity + (1 - opacity)
    return np.rint(rgb * 255).astype(np.uint8)


def _is_jpeg(encoded: bytes) -> bool:
    return encoded.startswith(b"\xff\xd8")


def _may_be_transparent(encoded: bytes) -> bool:
    simple_lossy_webp = encoded[8:16] == b"WEBPVP8 "
    return not _is_jpeg(encoded) and not simple_lossy_webp


def _declared_size(encoded: bytes) -> Size | None:
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
    """Width and height of an AVIF or HEIC picture, which says them of each of its parts; 0 where it says none."""
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


def _has_end_of_image(encoded: bytes, scan_start: int) -> bool:
    # Searched from the scan on, since a thumbnail has an end marker of its own, and backwards, since it is the last.
    return encoded.rfind(b"\xff\xd9", scan_start) != -1


def _jpeg_header(encoded: bytes) -> tuple[Size | None, int]:
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
    """Height and width of a picture, upright as its EXIF orientation says, from its header alone.

    Raises:
        PictureError: if there is no file, or it is no JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF.
    """
    if not path.is_file():
        raise PictureError(f"no picture at {path}; check the path")
    with path.open("rb") as file:
        encoded = file.read(_LARGEST_HEADER_BYTES)
    try:
        size = _jpeg_header(encoded)[0] if _is_jpeg(encoded) else _declared_size(encoded)
    except struct.error:
        size = None
    if size is None:
        raise PictureError(f"{path} has no header of a picture that can be read; convert it to JPEG or PNG")
    return Size(size.width, size.height) if exif_orientation(encoded) in ON_THEIR_SIDE else size


def exif_orientation(encoded: bytes) -> int:
    """How a JPEG is stored, 1 (upright) to 8; OpenCV turns other formats too rarely to matter.

    Damaged EXIF is none: decoders see it so, too.
    """
    try:
        start = encoded.find(b"Exif\0\0", 0, _jpeg_header(encoded)[1]) if _is_jpeg(encoded) else -1
        orientation = 1 if start < 0 else _tiff_tags(encoded[start + 6 :]).get(_ORIENTATION, 1)
    except struct.error:
        return 1
    return orientation if 1 <= orientation <= 8 else 1
