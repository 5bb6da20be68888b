"""The sound of a video file, copied without decoding."""

import logging
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from mspn.errors import reason
from mspn.sources.video_formats import SAFE_FORMATS
from mspn.structures.image import Video

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
