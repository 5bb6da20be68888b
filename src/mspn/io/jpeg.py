"""Decode a JPEG, whole or at a fraction of its size, and tell whether it is damaged."""

from dataclasses import dataclass

import numpy as np
import simplejpeg
from jaxtyping import UInt8

from mspn.errors import one_line
from mspn.io.image_headers import ImageHeader

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
