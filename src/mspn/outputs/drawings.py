"""Images and videos with the poses drawn on them; videos keep their sound."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mspn.errors import InvalidValueError, import_extra, reason
from mspn.io.files import explain_failures, replacing
from mspn.io.images import write_jpeg
from mspn.outputs.names import FileNames
from mspn.predict.pipeline import ImageResult
from mspn.sources.video import SAFE_FORMATS
from mspn.structures.image import Video
from mspn.structures.shapes import UInt8
from mspn.visualize.draw import Trails, draw_poses
from mspn.visualize.themes import DEFAULT_THEME, Theme


class ImageWriter:
    """`images/`: each image with its skeletons drawn, as a JPEG; frames of videos are `NAME-000123.jpg`.

    Sub-folders are those of the images below `source_folder`, see `FileNames`.
    """

    FOLDER = "images"

    def __init__(self, folder: Path, theme: Theme = DEFAULT_THEME, source_folder: Path | None = None) -> None:
        self.folder = folder / self.FOLDER
        self._theme = theme
        self._names = FileNames(source_folder)

    def write(self, result: ImageResult) -> None:
        if result.image is not None:
            drawn = draw_poses(result.image.pixels, result.poses, self._theme)
            write_jpeg(self.folder / f"{self._names.choose(result.image)}.jpg", drawn)

    def close(self) -> None:
        pass


class VideoWriter:
    """`videos/`: each video with skeletons drawn on its frames, put in its place when it is done."""

    FOLDER = "videos"

    def __init__(self, folder: Path, theme: Theme = DEFAULT_THEME, source_folder: Path | None = None) -> None:
        """Begin without a video.

        Raises:
            ValueError: if PyAV is not installed.
        """
        missing = InvalidValueError("--save video needs PyAV; pip install 'mspn[video]', or save images")
        self._av = import_extra("av", missing)
        self.folder = folder / self.FOLDER
        self._theme = theme
        self._names = FileNames(source_folder)
        self._video: Video | None = None
        self._file: VideoFile | None = None
        self._trails = Trails()

    def write(self, result: ImageResult) -> None:
        """Add a frame; images that belong to no video are left out.

        Raises:
            OSError: if there is no room for it.
            ValueError: if the drawn video would take the place of the one that it is drawn from.
        """
        if result.image is None or result.image.frame is None:
            return
        frame = result.image.frame
        if self._file is None or frame.video is not self._video:
            self.close()
            self._file = VideoFile(self._av, self.folder / self._names.choose_for(result.source), frame.video)
            self._video = frame.video
            self._trails = Trails()
        with_trails = self._trails.draw(result.image.pixels, result.poses, frame.seconds)
        self._file.write(draw_poses(with_trails, result.poses, self._theme), frame.seconds)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


_ENCODERS = {"libx264": {"crf": "20", "preset": "veryfast"}, "libopenh264": {}, "mpeg4": {}}
"""The first that FFmpeg has is taken, with its options."""
_BITS_PER_PIXEL = 4
"""A second; for encoders without a measure of quality."""
_TIME_BASE = Fraction(1, 60_000)
"""Seconds; as fine as MPEG-4 takes, and frames last whole numbers of it at the usual rates."""
_USUAL_RATE = Fraction(30)
_BT_709 = 1
"""What players take the colors of large videos for; said in the file, for small ones."""


class VideoFile:
    """MP4, or Matroska where the sound does not fit into that; put in its place when closed."""

    def __init__(self, av: Any, stem: Path, original: Video) -> None:
        """Start a file.

        Args:
            av: the module.
            stem: of the file, without suffix.
            original: whose sound and size the file gets.

        Raises:
            OSError: if it cannot be written.
            ValueError: if it would take the place of the original.
        """
        self._av = av
        with ExitStack() as stack:
            self._sound = open_sound(av, original)
            if self._sound is not None:
                stack.enter_context(closing(self._sound))
            suffix = ".mp4" if self._sound is None or self._sound.fits_mp4 else ".mkv"
            self._path = stem.with_name(stem.name + suffix)
            if self._path.resolve() == Path(original.source).resolve():
                raise InvalidValueError(
                    f"the drawn video would take the place of {original.source} itself; choose another --out"
                )
            with self._explained():
                temporary = stack.enter_context(replacing(self._path))
                self._container = stack.enter_context(av.open(str(temporary), "w"))
                self._images = self._add_images(original)
            if self._sound is not None:
                self._sound_copy = self._container.add_stream_from_template(self._sound.stream)
            self._open = stack.pop_all()
        self._last = -1
        self._frame_units = round(1 / (original.frame_rate or _USUAL_RATE) / _TIME_BASE)

    def write(self, pixels: UInt8[np.ndarray, "H W 3"], seconds: float) -> None:
        """Add an image at its time, which comes after that of the one before.

        Raises:
            OSError: if there is no room for it.
        """
        frame = self._av.VideoFrame.from_ndarray(_pad_to_even(pixels), format="rgb24")
        frame = frame.reformat(self._images.width, self._images.height, "yuv420p", dst_colorspace=_BT_709)
        frame.time_base = _TIME_BASE
        frame.pts = self._last = max(round(seconds / _TIME_BASE), self._last + 1)
        frame.duration = self._frame_units
        with self._explained():
            self._mux(self._images.encode(frame))
            self._copy_sound(seconds)

    def close(self) -> None:
        """Finish the file, with the sound up to the end of the last image.

        Raises:
            OSError: if there is no room for it.
        """
        with self._explained(), self._open:
            self._mux(self._images.encode(None))
            self._copy_sound(float((self._last + self._frame_units) * _TIME_BASE))

    def _add_images(self, original: Video) -> Any:
        name = next(name for name in _ENCODERS if name in self._av.codecs_available)
        stream = self._container.add_stream(name, original.frame_rate or _USUAL_RATE, options=_ENCODERS[name])
        height, width = (side + side % 2 for side in original.size)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 0 if _ENCODERS[name] else _BITS_PER_PIXEL * width * height
        context = stream.codec_context
        context.time_base = _TIME_BASE
        context.colorspace = context.color_primaries = context.color_trc = _BT_709
        return stream

    def _copy_sound(self, until_seconds: float) -> None:
        if self._sound is not None:
            for packet in self._sound.take_until(until_seconds):
                packet.stream = self._sound_copy
                self._mux([packet])

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            try:
                self._container.mux(packet)
            except self._av.FFmpegError as error:
                # Packets wait for each other, so that damaged sound may be noticed with an image.
                if self._sound is None or isinstance(error, OSError):
                    raise
                self._sound.give_up(error)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with explain_failures(self._path):
            try:
                yield
            except self._av.FFmpegError as error:
                raise OSError(error.errno, error.strerror) from error


def _pad_to_even(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Encoders take no odd sizes: the last row or column is repeated."""
    bottom, right = (side % 2 for side in pixels.shape[:2])
    return cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE) if bottom or right else pixels


logger = logging.getLogger(__name__)

_MP4_CODECS = ("aac", "ac3", "alac", "eac3", "mp3", "opus")
"""That players know in MP4."""


class Sound:
    """Compressed sound that can be muxed with other images."""

    def __init__(self, av: Any, container: Any, stream: Any, name: str) -> None:
        """See `open_sound`."""
        self.stream = stream
        self._av = av
        self._container = container
        self._name = name
        starts = [audio.start_time * audio.time_base for audio in container.streams if audio.start_time is not None]
        self._start = min(starts, default=Fraction(0))
        self._packets = self._read()
        self._next = next(self._packets, None)

    @property
    def fits_mp4(self) -> bool:
        return self.stream.codec_context.name in _MP4_CODECS

    def take_until(self, seconds: float) -> Iterator[Any]:
        """The packets that begin before a time of the video and have not been taken, stamped from its start on."""
        while self._next is not None and self._next.pts * self._next.time_base < seconds:
            yield self._next
            self._next = next(self._packets, None)

    def give_up(self, error: Exception) -> None:
        """Stop giving packets, and log why."""
        if self._next is not None:
            self._packets.close()
            self._next = None
            self._warn(error)

    def close(self) -> None:
        self._packets.close()
        self._container.close()

    def _read(self) -> Generator[Any, None, None]:
        try:
            for packet in self._container.demux(self.stream):
                if packet.pts is not None and packet.dts is not None:
                    shift = round(self._start / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    yield packet
        except (self._av.FFmpegError, OSError, IndexError) as error:  # IndexError: see `mspn.sources.video`
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        logger.warning("%s: its sound ends early (%s); the rest is silent", self._name, reason(error))


def open_sound(av: Any, video: Video) -> Sound | None:
    """Open the sound of a video file; None where there is none, or where the video is no file.

    Args:
        av: the module.
        video: whose sound it is.
    """
    if video.is_live or not Path(video.source).is_file():
        return None
    try:
        # The whole path, since FFmpeg takes some names for protocols.
        path = str(Path(video.source).resolve())
        container = av.open(
            path, options={"format_whitelist": SAFE_FORMATS, "protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except (av.FFmpegError, OSError):
        return None
    stream = container.streams.best("audio")
    if stream is None:
        container.close()
        return None
    return Sound(av, container, stream, video.source)
