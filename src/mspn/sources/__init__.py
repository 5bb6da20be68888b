"""Read every source as a sequence of images; a source that cannot be read becomes a `SourceFailure`."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any

from mspn.errors import ImageError, SourceError, import_extra, reason
from mspn.io.http import fetched
from mspn.io.image_headers import ImageHeader, read_header
from mspn.io.images import decode_image, read_image, warn_if_nearly_black
from mspn.io.limits import DEFAULTS, STREAM_SCHEMES, InputLimits, scheme_of, without_password
from mspn.sources.in_memory import InMemoryImage, read_in_memory, read_pillow_image
from mspn.sources.live import watch_camera, watch_stream
from mspn.sources.resolve import (
    STANDARD_INPUT,
    WHOLE,
    Shard,
    Source,
    exists_safely,
    find_sources,
    is_camera,
    is_pattern,
)
from mspn.sources.video import HEAD_BYTES, VIDEO_SUFFIXES, count_frames, is_motion_jpeg, looks_like_video, read_video
from mspn.structures.boxes import Size
from mspn.structures.image import FrameInfo, Image, SourceFailure, Video

_SINGLE_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
"""Of files that are not opened to be counted: they have one image, as a rule."""


def open_sources(sources: Sequence[Source], settings: InputLimits = DEFAULTS) -> Iterator[Image | SourceFailure]:
    """Images of all sources in order, each read when it is asked for; cameras and streams do not end by themselves.

    Raises:
        SourceError: at once, if nothing is named, or nothing of it is there.
        TypeError: at once, if something is named that can be no source.
    """
    resolved = find_sources(sources, settings)
    return (image for source in resolved for image in open_source(source, settings))


def open_source(source: Source | SourceFailure, settings: InputLimits = DEFAULTS) -> Iterator[Image | SourceFailure]:
    """Images of one source that `find_sources` gives; a failure is the last item."""
    if isinstance(source, SourceFailure):
        yield source
        return
    yield from failures_told(_read(source, settings), name_source(source))


def failures_told(images: Iterator[Image], name: str) -> Iterator[Image | SourceFailure]:
    """Images of a source of this name; an error of reading it becomes the last item."""
    try:
        yield from images
    except (ImageError, SourceError) as error:
        yield SourceFailure(name, str(error))
    except OSError as error:
        yield SourceFailure(
            name, f"{name or 'an image'} cannot be read ({error.strerror or error}); check it and its rights"
        )


def read_single_image(image: InMemoryImage | str | Path) -> Image:
    """The image of a file or in memory; what may hold several is refused.

    Args:
        image: the path of an image file, or what `read_in_memory` takes.

    Raises:
        ImageError: if the file cannot be read.
        SourceError: for a video, folder, pattern, address, camera or an empty name, saying what takes it; or if an
            image in memory has another type or shape.
        TypeError: for any other value.
    """
    if not isinstance(image, str | Path):
        return Image("", read_in_memory(image))
    path = Path(image)
    if image == "":
        raise SourceError("the path of the image is empty; give that of an image file")
    try:
        kind = _kind_of_several(image, path)
        if kind is None:
            return Image(str(image), read_image(path))
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror or error}); check it and its rights") from error
    name = without_password(str(image))
    raise SourceError(f"{name} is {kind}, and one image is wanted here; PoseEstimator().stream({name!r}) takes it")


def _kind_of_several(source: str | Path, path: Path) -> str | None:
    """What a source is that may hold several images, or none that is a file; None for a file, or nothing at all."""
    if exists_safely(path.is_file):
        with path.open("rb") as file:
            header = read_header(file)
            if _is_video(file, path.suffix, header):
                return "a video"
            return f"an image of {header.num_frames} frames" if header and header.num_frames > 1 else None
    if exists_safely(path.is_dir):
        return "a folder"
    kinds = {
        "the number of a camera": is_camera(source),
        "a list on standard input": source == STANDARD_INPUT,
        "an address": isinstance(source, str) and scheme_of(source),
        "a pattern": isinstance(source, str) and is_pattern(source),
    }
    return next((kind for kind, is_so in kinds.items() if is_so), None)


def name_source(source: Source | SourceFailure) -> str:
    """Name of a source in results: as the user wrote it, without password; empty for an image in memory."""
    if isinstance(source, SourceFailure):
        return source.source
    return without_password(str(source)) if isinstance(source, str | Path) else ""


def count_images(sources: Sequence[Source], settings: InputLimits = DEFAULTS, shard: Shard = WHOLE) -> int | None:
    """How many images of a part of the sources will come, as far as file names and the headers of videos tell.

    None if that is unknown.
    Sources that cannot be read count as one image, as do addresses.

    Raises:
        SourceError: as `open_sources`.
    """
    if any(_is_endless(source) for source in sources):
        return None
    total = 0
    for source in shard.take(find_sources(sources, settings)):
        count = _count(source)
        if count is None:
            return None
        total += count
    return total


def _read(source: Source, settings: InputLimits) -> Iterator[Image]:
    if not isinstance(source, str | Path):
        yield Image("", read_in_memory(source, settings.max_pixels))
    elif is_camera(source):
        yield from watch_camera(int(str(source)), settings)
    elif isinstance(source, str) and (scheme := scheme_of(source)):
        yield from watch_stream(source, settings) if scheme in STREAM_SCHEMES else _read_address(source, settings)
    else:
        yield from _read_file(Path(source), settings)


def _read_file(path: Path, limits: InputLimits) -> Iterator[Image]:
    if path.is_file():
        with path.open("rb") as file:
            frames = _read_frames(file, str(path), path.suffix, limits)
            if frames is not None:
                yield from frames
                return
    yield Image(str(path), read_image(path, limits.max_pixels, stretch=limits.stretch))


def _read_address(url: str, limits: InputLimits) -> Iterator[Image]:
    with fetched(url, limits) as file:
        yield from read_open_file(file, url, "", limits)


def read_open_file(file: IO[bytes], name: str, suffix: str, limits: InputLimits = DEFAULTS) -> Iterator[Image]:
    """Images of a file that is open for reading, and stays open as long as they are taken.

    Args:
        file: at its start.
        name: stands for it in results and errors.
        suffix: of its name, which decides only where its content does not.
        limits: of what is read.

    Raises:
        ImageError: if it is no image that can be read.
        SourceError: if it is a video that cannot be read, after the frames that can.
    """
    frames = _read_frames(file, name, suffix, limits)
    if frames is not None:
        yield from frames
        return
    file.seek(0)
    yield Image(name, decode_image(file.read(), name, limits.max_pixels, stretch=limits.stretch))


def _read_frames(file: IO[bytes], name: str, suffix: str, limits: InputLimits) -> Iterator[Image] | None:
    """Frames of a video, or of an image file that has several; None for a single image."""
    header = read_header(file)
    if _is_video(file, suffix, header):
        return read_video(file, name, limits.max_pixels)
    return read_sequence(file, name, header, limits) if header is not None and header.num_frames > 1 else None


def _is_video(file: IO[bytes], suffix: str, header: ImageHeader | None) -> bool:
    """The content decides; the suffix only where it shows nothing."""
    if header is not None and header.format != "gif":
        return is_motion_jpeg(file, header)
    file.seek(0)
    return suffix.lower() in VIDEO_SUFFIXES or looks_like_video(file.read(HEAD_BYTES))


def _is_endless(source: Source) -> bool:
    return is_camera(source) or (
        isinstance(source, str) and (source == STANDARD_INPUT or scheme_of(source) in STREAM_SCHEMES)
    )


def _count(source: Source | SourceFailure) -> int | None:
    if not isinstance(source, Path) or source.suffix.lower() in _SINGLE_IMAGE_SUFFIXES:
        return 1
    try:
        with source.open("rb") as file:
            header = read_header(file)
            if _is_video(file, source.suffix, header):
                return count_frames(file, str(source))
            return header.num_frames if header else 1
    except (SourceError, OSError):
        return 1


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
    frames = _read_sequence(library, file, max_pixels, stretch=limits.stretch)
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


def _read_sequence(
    library: Any, file: IO[bytes], max_pixels: int, *, stretch: bool
) -> Iterator[tuple[Any, float, bool]]:
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
