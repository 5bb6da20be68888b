"""Writing pictures as JPEG."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.files import explain_failures, replacing

_QUALITY = 90
_LONGEST_SIDE_PX = 65_500
"""Of what libjpeg writes."""


def fit_within(pixels: UInt8[np.ndarray, "H W 3"], longest_side_px: int) -> UInt8[np.ndarray, "h w 3"]:
    """The picture, made smaller if its longer side is above a length."""
    scale = longest_side_px / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def encode_jpeg(pixels: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The bytes of a JPEG file that shows RGB pixels, made smaller where they are longer than the format allows."""
    bgr = cv2.cvtColor(fit_within(pixels, _LONGEST_SIDE_PX), cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done, bgr.shape
    return encoded.tobytes()


def write_jpeg(path: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB picture, whole or not at all.

    Raises:
        OSError: if there is no room for it.
    """
    with explain_failures(path), replacing(path) as temporary:
        temporary.write_bytes(encode_jpeg(pixels))
