"""Writing a video file: new images at the times of another video, and its sound."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.errors import InvalidValueError
from mspn.io.files import explain_failures, replacing
from mspn.outputs.video.audio import open_sound
from mspn.structures.image import Video

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
