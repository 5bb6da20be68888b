"""Decode and encode images: whatever a file holds, RGB uint8 comes out."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16

from mspn.errors import ImageError
from mspn.io.files import explain_failures, replacing
from mspn.io.image_headers import declared_size, has_end_of_image, is_jpeg, jpeg_header
from mspn.structures.boxes import Size

MAX_FILE_BYTES = 512 * 2**20
MAX_PIXELS = 100_000_000
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""What a folder is searched for; a file that is named outright may have any suffix."""


@dataclass(frozen=True, eq=False)
class ReducedImage:
    """An image, or a smaller version of it."""

    pixels: UInt8[np.ndarray, "H W 3"]
    """RGB."""
    reduction: int
    """1, 2, 4 or 8: pixel i stands for the image's pixels reduction * i to reduction * i + reduction - 1, along both
    sides; where a side is no multiple of the reduction, its last pixel reaches beyond the image."""


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image as RGB, upright as its EXIF orientation says.

    Gray is repeated over the channels, 16-bit is scaled to 8-bit, CMYK is converted, transparency is laid on white
    (the EXIF orientation of an image with transparency is not applied).

    Raises:
        ImageError: if there is no file, it is no image, it is cut short, or it has more than max_pixels.
    """
    return read_reduced_image(path, 1, max_pixels).pixels


def allowed_reduction(factor: float) -> int:
    """The largest reduction up to a factor: 1, 2, 4 or 8."""
    return next((reduction for reduction in _REDUCTION_FLAGS if reduction <= factor), 1)


def read_reduced_image(path: Path, largest_reduction: float, max_pixels: int = MAX_PIXELS) -> ReducedImage:
    """Read an image as `read_image` does, a JPEG at a fraction of its size, which takes a fraction of the time.

    Args:
        path: of the image.
        largest_reduction: that still serves; a smaller one may come out, and other formats come out whole.
        max_pixels: of the image as it was before the reduction.

    Raises:
        ImageError: as `read_image`.
    """
    if not path.is_file():
        raise ImageError(f"no image at {path}; check the path")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ImageError(f"{path} is larger than {MAX_FILE_BYTES // 2**20} MiB; make it smaller first")
    return _decode_image(path.read_bytes(), str(path), largest_reduction, max_pixels)


def decode_image(encoded: bytes, name: str, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Decode the bytes of a whole image file, see `read_image`; `name` is what errors call it."""
    return _decode_image(encoded, name, 1, max_pixels).pixels


def _decode_image(encoded: bytes, name: str, largest_reduction: float, max_pixels: int) -> ReducedImage:
    # Sizes are checked before decoding, since a few bytes can declare gigabytes of pixels; what declares none in a form
    # that is known is not decoded.
    scan_start = 0
    if is_jpeg(encoded):
        size, scan_start = jpeg_header(encoded)
    else:
        size = declared_size(encoded)
    if size is not None:
        _check_size(size, name, max_pixels)
    if is_jpeg(encoded) and not has_end_of_image(encoded, scan_start):
        raise ImageError(f"{name} is cut short (a JPEG without its end); copy or download it again")
    if size is None:
        raise _unreadable(name)
    reduction = _jpeg_reduction(encoded[:scan_start], size, largest_reduction) if is_jpeg(encoded) else 1
    pixels = _decode(encoded, _REDUCTION_FLAGS[reduction])
    if pixels is None:
        raise _unreadable(name)
    _check_size(Size(*pixels.shape[:2]), name, max_pixels)
    if _may_be_transparent(encoded):
        unchanged = _decode(encoded, cv2.IMREAD_UNCHANGED)
        if unchanged is not None and unchanged.ndim == 3 and unchanged.shape[2] == 4:
            return ReducedImage(lay_on_white(unchanged[..., [2, 1, 0, 3]]), reduction)
    return ReducedImage(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), reduction)


_REDUCTION_FLAGS = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


def _jpeg_reduction(header: bytes, size: Size, largest: float) -> int:
    """The largest reduction up to `largest` that leaves pixels where `ReducedImage` says."""
    # Turned upright, an image may have its last, incomplete pixels in front.
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


def _unreadable(name: str) -> ImageError:
    return ImageError(f"{name} is not an image that can be read, or it is damaged; convert it to JPEG or PNG")


def _check_size(size: Size, name: str, max_pixels: int) -> None:
    if size.height * size.width > max_pixels:
        raise ImageError(
            f"{name} has {size.width}x{size.height} pixels, above the limit of {max_pixels:,}; make it smaller first"
        )


def lay_on_white(rgba: UInt8[np.ndarray, "H W 4"] | UInt16[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 3"]:
    """RGB of 8 bits of an image with transparency, on a white background."""
    values = rgba.astype(np.float32) / np.iinfo(rgba.dtype).max
    opacity = values[..., 3:]
    rgb = values[..., :3] * opacity + (1 - opacity)
    return np.rint(rgb * 255).astype(np.uint8)


def _may_be_transparent(encoded: bytes) -> bool:
    simple_lossy_webp = encoded[8:16] == b"WEBPVP8 "
    return not is_jpeg(encoded) and not simple_lossy_webp


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
