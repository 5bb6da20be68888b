"""Images that are in memory already: NumPy arrays, and images of Pillow, which is not needed for it."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from mspn.errors import SourceError
from mspn.io.images import MAX_PIXELS
from mspn.io.orientation import turn_by_exif

_ORIENTATION = 274
_EIGHT_BITS = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")


@runtime_checkable
class PillowImage(Protocol):
    """What is used of `PIL.Image.Image`."""

    @property
    def mode(self) -> str: ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""

    @property
    def info(self) -> Mapping[Any, Any]: ...

    def getexif(self) -> Mapping[int, Any]: ...

    def convert(self, mode: str) -> Any:
        """The image in another mode, which NumPy understands."""


def read_in_memory(image: np.ndarray | PillowImage, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of an image that is in memory, see `check_array` and `read_pillow_image`.

    Raises:
        SourceError: if it is no image.
        TypeError: if it is neither an array nor an image of Pillow.
    """
    if isinstance(image, np.ndarray):
        return check_array(image)
    if isinstance(image, PillowImage):
        return read_pillow_image(image, max_pixels)
    raise TypeError(f"an image is a path, an array or an image of Pillow, not {type(image).__name__}")


def check_array(array: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """An array that is RGB of 8 bits, as it is.

    Raises:
        SourceError: for any other.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        shape = "x".join(map(str, array.shape))
        raise SourceError(
            f"an array of {array.dtype} with shape {shape or '()'} is no image; give RGB as uint8 of shape (H, W, 3)"
        )
    return array


def read_pillow_image(image: PillowImage, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
    """An image of Pillow as RGB, upright as its EXIF orientation says, transparency laid on white.

    Raises:
        SourceError: if it has more than max_pixels, more than 8 bits, or is damaged.
    """
    width, height = image.size
    if width * height > max_pixels:
        raise SourceError(f"an image of {width}x{height} pixels is above the limit of {max_pixels:,}; make it smaller")
    if image.mode not in _EIGHT_BITS:
        raise SourceError(f"an image of mode {image.mode} does not say what is white; convert it to RGB")
    try:
        if image.mode in _TRANSPARENT or "transparency" in image.info:
            pixels = _on_white(np.asarray(image.convert("RGBA")))
        else:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # Pillow reads the file only now
        raise SourceError(f"an image cannot be decoded ({error}); is its file whole?") from error
    return turn_by_exif(pixels, image.getexif().get(_ORIENTATION, 1))


def _on_white(rgba: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 3"]:
    opacity = rgba[..., 3:].astype(np.float32) / 255
    return np.rint(rgba[..., :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)
