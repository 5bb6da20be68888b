"""Images in memory: NumPy arrays, torch tensors, and Pillow images (neither torch nor Pillow is imported)."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mspn.errors import SourceError
from mspn.io.images import MAX_PIXELS, lay_on_white, scale_to_8_bits, turn_by_exif
from mspn.structures.shapes import UInt8

_ORIENTATION_TAG = 274
_TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
_WIDE = ("I", "F")
_NUM_CHANNELS = (1, 3)
_SHAPES = "uint8 of shape (H, W), (H, W, 1) or (H, W, 3), RGB"


@runtime_checkable
class Tensor(Protocol):
    """What is used of `torch.Tensor`."""

    @property
    def dtype(self) -> Any: ...

    def detach(self) -> Any:
        """The tensor without its gradient."""

    def cpu(self) -> Any:
        """The tensor in the processor's memory, which NumPy can read."""


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


InMemoryImage = np.ndarray | Tensor | PillowImage


def read_in_memory(image: InMemoryImage, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """RGB pixels of an image in memory, see `read_array`, `read_tensor` and `read_pillow_image`.

    Raises:
        SourceError: if it is not an image that can be used.
        TypeError: if it is neither an array nor a tensor nor a Pillow image.
    """
    if isinstance(image, np.ndarray):
        return read_array(image)
    if isinstance(image, Tensor):
        return read_tensor(image)
    if isinstance(image, PillowImage):
        return read_pillow_image(image, max_pixels)
    raise TypeError(f"an image is a path, an array, a tensor or a Pillow image, not {type(image).__name__}")


def read_array(array: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """RGB of an array: uint8, (H, W, 3), returned as it is, or gray, (H, W) or (H, W, 1).

    Raises:
        SourceError: for any other type or shape.
    """
    pixels = array[..., None] if array.ndim == 2 else array
    if array.dtype == np.uint8 and pixels.ndim == 3 and 0 not in pixels.shape:
        if pixels.shape[2] == 4:
            raise SourceError(
                f"an array of shape {array.shape} has four channels; give RGB of shape (H, W, 3),"
                " for example array[..., :3]"
            )
        if pixels.shape[2] == 3:
            return pixels
        if pixels.shape[2] == 1:
            return np.repeat(pixels, 3, axis=2)
    raise SourceError(f"an array of {array.dtype} with shape {array.shape} is not an image; give {_SHAPES}")


def read_tensor(tensor: Tensor) -> UInt8[np.ndarray, "H W 3"]:
    """RGB of a tensor on any device: as `read_array`, and channels first, (3, H, W) or (1, H, W), as torchvision reads.

    Channels last wins where both fit: a tensor of shape (3, 8, 3) is an image 3 pixels high.

    Raises:
        SourceError: for any other type or shape.
    """
    if str(tensor.dtype) != "torch.uint8":
        raise SourceError(f"a tensor of {tensor.dtype} is not an image; give {_SHAPES}, with values from 0 to 255")
    array: np.ndarray = tensor.detach().cpu().numpy()
    is_channels_first = array.ndim == 3 and array.shape[0] in _NUM_CHANNELS and array.shape[2] not in _NUM_CHANNELS
    return read_array(np.ascontiguousarray(array.transpose(1, 2, 0)) if is_channels_first else array)


def read_pillow_image(image: PillowImage, max_pixels: int, *, stretch: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """RGB of a Pillow image of any mode, upright as its EXIF orientation says, transparency laid on white.

    16-bit gray (modes I;16) is scaled to 8 bits as `read_image` does, stretched if asked; the modes I and F, which
    have no fixed white, must hold values from 0 to 255.

    Raises:
        SourceError: if it has more than max_pixels, values outside 0 to 255 in mode I or F, or is damaged.
    """
    width, height = image.size
    if width * height > max_pixels:
        raise SourceError(f"an image of {width}x{height} pixels is above the limit of {max_pixels:,}; make it smaller")
    try:
        pixels = _convert(image, stretch)
    except SourceError:
        raise
    except (OSError, ValueError, SyntaxError) as error:  # Pillow reads the file only now
        raise SourceError(f"an image cannot be decoded ({error}); is its file whole?") from error
    return turn_by_exif(pixels, image.getexif().get(_ORIENTATION_TAG, 1))


def _convert(image: PillowImage, stretch: bool) -> UInt8[np.ndarray, "H W 3"]:
    if image.mode.startswith("I;16"):
        return read_array(scale_to_8_bits(np.asarray(image.convert("I")).astype(np.uint16), stretch=stretch))
    if image.mode in _WIDE:
        values = np.asarray(image.convert(image.mode))
        if not ((values >= 0) & (values <= 255)).all():  # NaN is refused as well
            raise SourceError(
                f"an image of mode {image.mode} has values outside 0 to 255, which do not say what is white;"
                " scale it to that range, or convert it to L or RGB"
            )
        return read_array(np.rint(values).astype(np.uint8))
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        straight = image.convert("LA") if image.mode == "La" else image  # of no other mode can Pillow make RGBA
        return lay_on_white(np.asarray(straight.convert("RGBA")))
    return np.asarray(image.convert("RGB"))
