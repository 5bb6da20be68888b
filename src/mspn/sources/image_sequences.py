"""Image files of several frames: pages of a TIFF, animated WebP, PNG and AVIF."""

from collections.abc import Iterator
from itertools import count
from typing import IO, Any

from mspn.errors import SourceError, reason
from mspn.io.extras import import_extra
from mspn.io.image_headers import ImageHeader
from mspn.io.images import warn_if_nearly_black
from mspn.io.limits import InputLimits
from mspn.sources.in_memory import read_pillow_image
from mspn.structures.boxes import Size
from mspn.structures.image import FrameInfo, Image, Video

_PAGES_PER_SECOND = 25
"""Pages of a TIFF have no time of their own."""
_KIND_OF_PAGE = 254
_NOT_A_PAGE = 0b101
"""A smaller version or a mask of another page."""
_MEMORY_SHARE = 3
"""An animation is kept several times in memory while it is decoded, so its frames may have fewer pixels."""


def read_sequence(file: IO[bytes], name: str, header: ImageHeader, limits: InputLimits) -> Iterator[Image]:
    """Frames of an image file, upright, in RGB, each decoded when it is asked for; pages may differ in size.

    Args:
        file: open for reading.
        name: stands for it in results and errors.
        header: of the file, which has several frames.
        limits: of the pixels of a frame.

    Raises:
        SourceError: if Pillow is not installed; after the frames that can be read, if some cannot.
    """
    missing = SourceError(
        f"{name} has {header.num_frames} frames; reading them needs Pillow; pip install 'mspn[video]'"
    )
    library = import_extra("PIL.Image", missing)
    max_pixels = limits.max_pixels // _MEMORY_SHARE
    if header.size.height * header.size.width > max_pixels:
        raise SourceError(
            f"{name} has {header.num_frames} frames of {header.size.width}x{header.size.height} pixels, above the limit"
            f" of {max_pixels:,}; make it smaller first"
        )
    frames = _read_frames(library, file, max_pixels, stretch=limits.stretch)
    video, num_frames, seconds = None, 0, 0.0
    while True:
        try:
            pixels, duration, is_wide = next(frames)
        except StopIteration:
            break
        except Exception as error:  # readers of damaged files raise many kinds
            raise SourceError(
                f"{name} is damaged or cut short ({reason(error)}): {num_frames} frames were read, others could not be;"
                " copy or download it again"
            ) from error
        if video is None:
            video = Video(name, Size(*pixels.shape[:2]), None, header.num_frames, is_live=False)
            if is_wide and not limits.stretch:
                warn_if_nearly_black(pixels, name)
        yield Image(name, pixels, FrameInfo(video, num_frames, seconds))
        num_frames += 1
        seconds += duration
    if num_frames < header.num_frames:
        raise SourceError(f"{name} has {header.num_frames} frames, of which {num_frames} could be read")


def _read_frames(library: Any, file: IO[bytes], max_pixels: int, *, stretch: bool) -> Iterator[tuple[Any, float, bool]]:
    """Pixels and seconds of each frame, and whether it has 16 bits."""
    file.seek(0)
    with library.open(file) as image:
        # A PNG may begin with an image for those that know no animations.
        for position in count(int(image.info.get("default_image", False))):
            try:
                image.seek(position)
            except EOFError:
                return
            if getattr(image, "tag_v2", {}).get(_KIND_OF_PAGE, 0) & _NOT_A_PAGE:
                continue
            pixels = read_pillow_image(image, max_pixels, stretch=stretch)
            milliseconds = image.info.get("duration")
            seconds = 1 / _PAGES_PER_SECOND if milliseconds is None else milliseconds / 1000
            yield pixels, seconds, image.mode.startswith("I;16")
