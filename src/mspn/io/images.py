"""Decode and encode images: RGB uint8 comes out, upright; of a JPEG also at a fraction of its size."""

import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from mspn.errors import ImageError, import_extra, one_line
from mspn.io.files import explain_failures, replacing
from mspn.io.image_headers import ImageHeader, read_header
from mspn.structures.shapes import UInt8, UInt16

logger = logging.getLogger(__name__)

REDUCTIONS = (8, 4, 2, 1)
START_OF_JPEG = b"\xff\xd8"
_END_OF_JPEG = b"\xff\xd9"
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG file")
"""How those warnings of libjpeg begin after which pixels may be wrong."""


@dataclass(frozen=True, eq=False)
class ReducedImage:
    """An image, or a smaller version of it."""

    pixels: UInt8[np.ndarray, "H W 3"]
    """RGB."""
    reduction: int
    """1, 2, 4 or 8: pixel i stands for the image's pixels reduction * i to reduction * i + reduction - 1, along both
    sides; where a side is no multiple of the reduction, its last pixel reaches beyond the image."""
    damage: str = ""
    """What is wrong with the file, in libjpeg's words, so that a part of the pixels is; empty if nothing is known."""


def decode_jpeg(encoded: bytes | bytearray, header: ImageHeader, largest_reduction: float) -> ReducedImage | None:
    """Decode a JPEG as it is stored, at the largest reduction up to a factor that leaves pixels where they belong.

    None if it cannot be decoded, or its colors are sampled in a way that TurboJPEG does not know.
    """
    reduction = _reduction(header, largest_reduction)
    # The scaled size exactly, else libjpeg takes the nearest of its fractions of eight.
    height, width = (-(-side // reduction) for side in header.size)

    def decode(*, strict: bool) -> np.ndarray:
        pixels: np.ndarray = simplejpeg.decode_jpeg(
            encoded, "RGB", min_height=height, min_width=width, min_factor=reduction, strict=strict
        )
        return pixels

    damage = ""
    try:
        try:
            pixels = decode(strict=True)
        except ValueError as error:
            pixels = decode(strict=False)
            damage = one_line(str(error)) if str(error).startswith(_DAMAGE) else ""
    except ValueError:
        return None
    return ReducedImage(pixels, reduction, damage) if pixels.shape == (height, width, 3) else None


def lacks_end(jpeg: bytes | bytearray, header: ImageHeader | None) -> bool:
    """Whether a JPEG is cut short."""
    if header is None:
        return not jpeg.rstrip(b"\0").endswith(_END_OF_JPEG)
    # Searched from the scan on, since a thumbnail has an end marker of its own, and backwards, since it is the last.
    return jpeg.rfind(_END_OF_JPEG, header.scan_start) == -1


def _reduction(header: ImageHeader, largest: float) -> int:
    # Turned upright, an image may have its last, incomplete pixels in front.
    for reduction in REDUCTIONS:
        is_exact = header.orientation == 1 or all(side % reduction == 0 for side in header.size)
        if reduction <= largest and is_exact:
            return reduction
    return 1


MAX_FILE_BYTES = 512 * 2**20
MAX_PIXELS = 100_000_000
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""What a folder is searched for; a file that is named outright may have any suffix."""
_STRIP_PIXELS = 2**14


def read_image(path: Path, max_pixels: int = MAX_PIXELS, *, stretch: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image as RGB, upright as its EXIF orientation says.

    Gray is repeated over the channels, 16-bit is scaled to 8-bit, CMYK is converted, transparency is laid on white.
    Of a file with several frames it is the first. A damaged JPEG is decoded as far as it goes, which is told.

    Args:
        path: of the image.
        max_pixels: of the image; formats that take more memory while they are decoded may have fewer.
        stretch: whether the largest value of a 16-bit image becomes white, in place of the largest possible one.

    Raises:
        ImageError: if there is no file, it is no image, it is cut short, or it has more than max_pixels.
    """
    return decode_image(_read_bytes(path), str(path), max_pixels, stretch=stretch)


def allowed_reduction(factor: float) -> int:
    """The largest reduction up to a factor: 1, 2, 4 or 8."""
    return next((reduction for reduction in REDUCTIONS if reduction <= factor), 1)


def read_reduced_image(path: Path, largest_reduction: float, max_pixels: int = MAX_PIXELS) -> ReducedImage:
    """Read an image as `read_image` does, a JPEG at a fraction of its size, which takes a fraction of the time.

    Damage is not told, but returned.

    Args:
        path: of the image.
        largest_reduction: that still serves; a smaller one may come out, and other formats come out whole.
        max_pixels: of the image as it was before the reduction.

    Raises:
        ImageError: as `read_image`.
    """
    return decode_reduced_image(_read_bytes(path), str(path), largest_reduction, max_pixels)


def decode_reduced_image(
    encoded: bytes, name: str, largest_reduction: float, max_pixels: int = MAX_PIXELS
) -> ReducedImage:
    """Decode the bytes of a whole image file, see `read_reduced_image`; `name` is what errors call it."""
    return _decode_image(encoded, name, largest_reduction, max_pixels, False)


def decode_image(
    encoded: bytes | bytearray, name: str, max_pixels: int = MAX_PIXELS, *, stretch: bool = False
) -> UInt8[np.ndarray, "H W 3"]:
    """Decode the bytes of a whole image file, see `read_image`; `name` is what errors call it."""
    decoded = _decode_image(encoded, name, 1, max_pixels, stretch)
    if decoded.damage:
        logger.warning(
            "%s is damaged (%s): a part of its pixels may be wrong; copy or download it again", name, decoded.damage
        )
    return decoded.pixels


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ImageError(f"no image at {path}; check the path")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ImageError(f"{path} is larger than {MAX_FILE_BYTES // 2**20} MiB; make it smaller first")
    return path.read_bytes()


def _decode_image(
    encoded: bytes | bytearray, name: str, largest_reduction: float, max_pixels: int, stretch: bool
) -> ReducedImage:
    # Sizes are checked before decoding, since a few bytes can declare gigabytes of pixels; what declares none in a form
    # that is known is not decoded.
    header = read_header(io.BytesIO(encoded))
    if header is not None:
        _check_size(header, len(encoded), name, max_pixels, stretch)
    if encoded.startswith(START_OF_JPEG) and lacks_end(encoded, header):
        raise ImageError(f"{name} is cut short (a JPEG without its end); copy or download it again")
    # More than 16 bits are numbers that only their programs know the meaning of, and up to eight times as large.
    if header is None or header.is_cut_short or header.depth > 16:
        raise _unreadable(name)
    if header.format == "heic":
        return ReducedImage(_decode_heic(encoded, name), 1)
    decoded = decode_jpeg(encoded, header, largest_reduction) if header.format == "jpeg" else None
    if decoded is None:
        decoded = ReducedImage(_decode_by_opencv(encoded, header, name, stretch), 1)
    return replace(decoded, pixels=turn_by_exif(decoded.pixels, header.orientation))


def _decode_by_opencv(
    encoded: bytes | bytearray, header: ImageHeader, name: str, stretch: bool
) -> UInt8[np.ndarray, "H W 3"]:
    """RGB as it is stored."""
    needs_all = header.may_be_transparent or (stretch and header.depth == 16)
    if header.orientation_position is not None:
        encoded = _without_orientation(encoded, header.orientation_position)
    # Turned by us: OpenCV's versions turn one format, but not another.
    flags = cv2.IMREAD_UNCHANGED if needs_all else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = _decode(encoded, flags)
    if decoded is None or decoded.dtype not in (np.uint8, np.uint16) or decoded.shape[:2] != header.size:
        raise _unreadable(name)
    if decoded.ndim == 2 and header.may_be_transparent:
        decoded = _gray_on_white(decoded, header, name)
    elif header.is_premultiplied and decoded.shape[2:] == (4,):
        _lay_premultiplied_on_white(decoded)
    pixels = _to_rgb(decoded, stretch)
    if header.depth == 16 and not stretch:
        warn_if_nearly_black(pixels, name)
    return pixels


def _gray_on_white(decoded: np.ndarray, header: ImageHeader, name: str) -> np.ndarray:
    """Gray without opacities, which decoders drop; white where a PNG has its one transparent value."""
    if header.transparent_gray is None:
        logger.warning("%s is gray with transparency, which is not used; convert it to PNG", name)
        return decoded
    unpacked = header.transparent_gray * (255 // (2**header.depth - 1) if header.depth < 8 else 1)
    return np.where(decoded == unpacked, decoded.dtype.type(np.iinfo(decoded.dtype).max), decoded)


def _lay_premultiplied_on_white(image: np.ndarray) -> None:
    """In place, which makes the image opaque: its colors are multiplied by their opacity already."""
    white = np.iinfo(image.dtype).max
    for rows in _strips(image):
        colors, opacity = image[rows, :, :3], image[rows, :, 3:]
        colors[...] = np.minimum(colors, opacity) + (white - opacity)
        opacity[...] = white


def _without_orientation(tiff: bytes | bytearray, position: int) -> bytearray:
    """The same file stored upright: decoders of TIFF turn images, whatever they are asked for."""
    changed = bytearray(tiff)
    changed[position : position + 2] = b"\1\0" if tiff.startswith(b"II") else b"\0\1"
    return changed


def _decode(encoded: bytes | bytearray, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        return None


def _decode_heic(encoded: bytes | bytearray, name: str) -> UInt8[np.ndarray, "H W 3"]:
    missing = ImageError(f"{name} is HEIC, as phones store photos; pip install pillow-heif, or convert it to JPEG")
    library = import_extra("pillow_heif", missing)
    try:
        pixels: np.ndarray = np.asarray(library.read_heif(bytes(encoded)))  # upright
    except (ValueError, RuntimeError, SyntaxError, EOFError, OSError) as error:
        raise _unreadable(name) from error
    return lay_on_white(pixels) if pixels.shape[-1] == 4 else pixels


def _unreadable(name: str) -> ImageError:
    return ImageError(f"{name} is not an image that can be read, or it is damaged; convert it to JPEG or PNG")


def _check_size(header: ImageHeader, file_bytes: int, name: str, max_pixels: int, stretch: bool) -> None:
    height, width = header.size
    free_bytes = max_pixels * _BYTES_PER_PIXEL - max(0, file_bytes - _SMALL_FILE_BYTES)
    for limit in (max_pixels, max(0, int(free_bytes / _decoder_bytes(header, stretch)))):
        if height * width > limit:
            raise ImageError(f"{name} has {width}x{height} pixels, above the limit of {limit:,}; make it smaller first")
        if header.largest_block > max(limit, _TILE_PIXELS):
            raise ImageError(f"{name} has a tile of {header.largest_block:,} pixels; store it without tiles, or as PNG")


_TILE_PIXELS = 2**20
"""A tile may have as many, however few are allowed for an image."""
_SMALL_FILE_BYTES = 2**20
"""What a file may take, however few pixels are allowed."""
_BYTES_PER_PIXEL = 12
"""What an image of the largest size may take while it is decoded, the file itself included."""


def _decoder_bytes(header: ImageHeader, stretch: bool) -> float:
    """Bytes of memory for a pixel while it is decoded, without the file: measured, `benchmarks.image_memory`."""
    if header.format in ("avif", "heic"):
        return 44 if header.may_be_transparent else 24
    if header.format == "jpeg":
        # A progressive one: two bytes for each coefficient, then RGB.
        return 13 if header.num_channels == 4 else 10
    needs_all = header.may_be_transparent or stretch
    decoded = (4 if header.may_be_transparent else 3) * (2 if header.depth == 16 and needs_all else 1)
    # OpenCV copies what it has decoded into an array.
    copied = 2 * decoded
    if header.format == "webp":
        return max(copied, decoded + 5)  # a lossless one is decoded to four bytes first
    if header.format != "tiff":
        return copied
    # A strip as it is stored, and unpacked.
    share = min(1, header.largest_block / (header.size.height * header.size.width))
    return max(copied, decoded + share * (1 + 2 * header.num_channels * header.depth / 8))


def _to_rgb(decoded: np.ndarray, stretch: bool) -> UInt8[np.ndarray, "H W 3"]:
    """RGB of what OpenCV gives: gray, BGR or BGRA, of 8 or 16 bits."""
    if decoded.ndim == 3 and decoded.shape[2] == 4:
        bgr = lay_on_white(decoded, stretch=stretch)
    else:
        bgr = scale_to_8_bits(decoded, stretch=stretch)
    if bgr.ndim == 2:
        return cv2.cvtColor(bgr, cv2.COLOR_GRAY2RGB)
    for rows in _strips(bgr):
        bgr[rows] = bgr[rows, :, ::-1]
    return bgr


def lay_on_white(
    image: UInt8[np.ndarray, "H W 4"] | UInt16[np.ndarray, "H W 4"], *, stretch: bool = False
) -> UInt8[np.ndarray, "H W 3"]:
    """Three channels of 8 bits of an image whose last of four is its opacity, on a white background."""
    white = _white_of(image[..., :3], stretch)
    on_white = np.empty((*image.shape[:2], 3), np.uint8)
    for rows in _strips(image):
        colors, opacity = image[rows, :, :3], image[rows, :, 3:]
        if image.dtype == np.uint8:
            # 255 * 255 and half of 255 fit in 16 bits.
            opacity_16 = opacity.astype(np.uint16)
            on_white[rows] = (colors * opacity_16 + (255 - opacity_16) * 255 + 127) // 255
        else:
            share = opacity.astype(np.float32) / np.iinfo(image.dtype).max
            on_white[rows] = np.rint((colors / np.float32(white) * share + (1 - share)) * 255)
    return on_white


def scale_to_8_bits(image: np.ndarray, *, stretch: bool = False) -> UInt8[np.ndarray, "*shape"]:
    """An image of 16 bits as one of 8; one of 8 as it is."""
    if image.dtype == np.uint8:
        return image
    white = _white_of(image, stretch)
    scaled = np.empty(image.shape, np.uint8)
    for rows in _strips(image):
        # Without stretching the high byte, as OpenCV scales.
        scaled[rows] = np.rint(image[rows] * (255 / white)) if stretch else image[rows] >> 8
    return scaled


def _white_of(image: np.ndarray, stretch: bool) -> int:
    return max(1, int(image.max())) if stretch and image.dtype == np.uint16 else int(np.iinfo(image.dtype).max)


def _strips(image: np.ndarray) -> Iterator[slice]:
    """Rows that are converted together: a copy of the whole image in floats would take gigabytes."""
    num_rows = max(1, _STRIP_PIXELS // image.shape[1])
    return (slice(start, start + num_rows) for start in range(0, image.shape[0], num_rows))


def warn_if_nearly_black(pixels: UInt8[np.ndarray, "H W 3"], name: str) -> None:
    """Tell of an image of 16 bits, scaled to 8, that holds values of 12 bits or fewer."""
    if pixels.max() < 2 ** (12 - 8):
        logger.warning(
            "%s is nearly black: of its 16 bits at most 12 are used; --stretch (stretch=True) makes it as bright"
            " as it can be",
            name,
        )


_QUALITY = 90
_MAX_SIDE_PX = 65_500
"""Of what libjpeg writes."""


def fit_within(pixels: UInt8[np.ndarray, "H W 3"], longest_side_px: int) -> UInt8[np.ndarray, "h w 3"]:
    """The image, made smaller if its longer side is above a length."""
    scale = longest_side_px / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def encode_jpeg(pixels: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The bytes of a JPEG file that shows RGB pixels, made smaller where they are longer than the format allows."""
    bgr = cv2.cvtColor(fit_within(pixels, _MAX_SIDE_PX), cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done, bgr.shape
    return encoded.tobytes()


def write_jpeg(path: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB image, whole or not at all.

    Raises:
        OSError: if there is no room for it.
    """
    with explain_failures(path), replacing(path) as temporary:
        temporary.write_bytes(encode_jpeg(pixels))


_EXIF_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""By orientation: whether rows and columns trade places, then whether rows, then columns, run backwards."""


def turn_by_exif(pixels: UInt8[np.ndarray, "H W 3"], orientation: int) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Turn an image upright whose EXIF says 1 (it is) to 8; other numbers mean nothing."""
    return _turn(pixels, *_EXIF_TURNS.get(orientation, _EXIF_TURNS[1]))


def turn_by_matrix(pixels: UInt8[np.ndarray, "H W 3"], matrix: Sequence[int]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Turn a frame upright by the quarter turn nearest to its display matrix.

    Args:
        pixels: as decoded.
        matrix: nine numbers (a b u, c d v, x y w) that send a stored point (x, y) to (a x + c y, b x + d y), as in
            libavutil's display.h.
    """
    a, b, _u, c, d = matrix[:5]
    if abs(b) + abs(c) > abs(a) + abs(d):
        return _turn(pixels, True, b < 0, c < 0)
    return _turn(pixels, False, d < 0, a < 0)


def _turn(pixels: np.ndarray, transposes: bool, flips_rows: bool, flips_columns: bool) -> np.ndarray:
    turned = pixels.swapaxes(0, 1) if transposes else pixels
    return np.ascontiguousarray(turned[:: -1 if flips_rows else 1, :: -1 if flips_columns else 1])
