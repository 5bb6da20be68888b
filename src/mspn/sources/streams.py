"""Streams of network cameras (RTSP)."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from mspn.picture import Picture
from mspn.sources.addresses import without_password
from mspn.sources.live import Frame, watch
from mspn.sources.problems import SourceError, reason
from mspn.sources.pyav import load_pyav
from mspn.sources.settings import SourceSettings
from mspn.sources.videos import refuse_large_frames, to_rgb

# TCP, since pictures of which packets are lost on the way are smeared, and firewalls let it through.
_OPTIONS = {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,rtp,tcp,tls"}


def watch_stream(address: str, settings: SourceSettings) -> Iterator[Picture]:
    """The newest picture of a stream, again and again; see `watch`.

    Its host may be anywhere: network cameras are seldom on the public internet. Results and errors name it without
    user name and password.

    Raises:
        SourceError: if PyAV is not installed, or the stream cannot be had or has ended.
    """
    return watch(without_password(address), partial(_frames, address, settings), settings)


def _frames(address: str, settings: SourceSettings) -> Iterator[Frame]:
    name = without_password(address)
    av = load_pyav(name)
    try:
        with av.open(address, options=_OPTIONS, timeout=settings.wait_seconds) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise SourceError(f"{name} has no pictures in it; is it the address of the sound?")
            for packet in container.demux(stream):
                frames = []
                with suppress(av.error.InvalidDataError):  # what came before the first whole picture, or was lost
                    frames = packet.decode()
                for frame in frames:
                    refuse_large_frames(frame, name, settings.max_pixels)
                    yield partial(to_rgb, frame, None)
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(
            f"{name} cannot be reached, or broke off ({reason(error)}); check address and network"
        ) from error
