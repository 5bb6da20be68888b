"""Writing pictures as JPEG."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.files import explain_failures, replacing

_QUALITY = 90


def encode_jpeg(pixels: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The bytes of a JPEG file that shows RGB pixels."""
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done, f"a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels cannot be a JPEG"
    return encoded.tobytes()


def write_jpeg(path: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB picture, whole or not at all.

    Raises:
        OSError: if there is no room for it.
    """
    with explain_failures(path), replacing(path) as temporary:
        temporary.write_bytes(encode_jpeg(pixels))
