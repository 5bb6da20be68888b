"""Video files: which files are some, by suffix and by content, and their frames, upright, with their time stamps."""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import numpy as np

from mspn.errors import SourceError, import_extra, reason
from mspn.io.image_headers import ImageHeader, read_header
from mspn.io.images import turn_by_matrix
from mspn.structures.boxes import Size
from mspn.structures.image import FrameInfo, Image, Video
from mspn.structures.shapes import UInt8

SAFE_FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,dv,mxf,h264,hevc,m4v,mjpeg,ivf,obu,yuv4mpegpipe"
"""Formats that FFmpeg may detect: those that contain images and sound. Playlists, which name other files and
addresses, are excluded."""
STARTS_ANYWHERE = ("mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v")
"""Formats that are cut out of a broadcast: what comes before the first whole image is of one that is not there."""
TRANSPORT_STREAM_SUFFIX = ".ts"
"""Also that of programs in TypeScript, which a folder may hold as well."""
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"}
    | {".gif", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".265", ".hevc", ".m2v", ".vob", TRANSPORT_STREAM_SUFFIX}
)
"""Suffixes that a folder is searched for; other files are recognized by their content."""
HEAD_BYTES = 512
"""Of a file, enough for `looks_like_video`."""
_SIGNS = (
    b"\x1aE\xdf\xa3",
    b"FLV\x01",
    b"OggS",
    b"GIF8",
    b"DKIF",
    b"YUV4MPEG2 ",
    b"\x00\x00\x01\xba",
    b"\x00\x00\x01\xb0",
    b"\x00\x00\x01\xb3",
    b"0&\xb2u\x8ef\xcf\x11",
)
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_TS_PACKET_BYTES = 188
_TS_TIME_BYTES = 4
"""Before each packet, in the files of cameras."""
_FIRST_UNIT = re.compile(rb"\0{2,3}\x01(.)", re.DOTALL)
_H264_UNITS = (7, 9)
"""Kinds of units that H.264 may begin with: parameters of a sequence, and the sign between two images."""
_H265_UNITS = (32, 33, 35)
_MULTIPART = re.compile(rb"(\r\n)?--[^\r\n]{1,70}\r\ncontent-type: *image/jpe?g", re.IGNORECASE)
_MAX_JPEG_BYTES = 2**25


def looks_like_video(head: bytes) -> bool:
    """Whether the first bytes of a file (`HEAD_BYTES`) are those of a video."""
    if head[4:8] in _MOV_BOXES:
        return head[8:12] not in _IMAGE_BRANDS
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return (
        is_avi or head.startswith(_SIGNS) or is_transport_stream(head) or _is_bare_h26x(head) or is_multipart_jpeg(head)
    )


def is_transport_stream(head: bytes) -> bool:
    """Whether the first bytes of a file are two packets of MPEG's transport stream."""
    return any(
        head[start : start + 1] == b"G" == head[start + length : start + length + 1]
        for start, length in ((0, _TS_PACKET_BYTES), (_TS_TIME_BYTES, _TS_PACKET_BYTES + _TS_TIME_BYTES))
    )


def is_multipart_jpeg(head: bytes) -> bool:
    """Whether a file begins as what network cameras send: JPEGs, each behind headers of its own."""
    return _MULTIPART.match(head) is not None


def is_motion_jpeg(file: IO[bytes], header: ImageHeader) -> bool:
    """Whether a JPEG is the first of many of its size, one behind the other.

    Photos with a preview, a depth map or a second view behind them are none.
    """
    if header.format != "jpeg":
        return False
    file.seek(0)
    is_multi_picture = b"MPF\0" in file.read(header.scan_start)
    scan = file.read(_MAX_JPEG_BYTES)
    end = scan.find(b"\xff\xd9")
    if is_multi_picture or end < 0:
        return False
    following = read_header(io.BytesIO(scan[end + 2 :].lstrip(b"\0\r\n")))
    return following is not None and (following.format, following.size) == ("jpeg", header.size)


def _is_bare_h26x(head: bytes) -> bool:
    """Whether a file begins with a unit of H.264 or H.265, without a container."""
    unit = _FIRST_UNIT.match(head)
    if unit is None or unit[1][0] & 0x80:
        return False
    return unit[1][0] & 0x1F in _H264_UNITS or unit[1][0] >> 1 in _H265_UNITS


def load_pyav(source: str) -> Any:
    """The module `av`.

    Raises:
        SourceError: naming the source, if it is not installed.
    """
    return import_extra("av", SourceError(f"reading {source} needs PyAV; pip install 'mspn[video]'"))


_FORMATS_WITH_DURATION = ("mov", "matroska")
_MIN_MISSING_SECONDS = Fraction(1)
_ASSUMED_RATE = 25
"""Frames per second of a video that does not say."""
_MICROSECOND = Fraction(1, 1_000_000)


def read_video(file: IO[bytes], name: str, max_pixels: int) -> Iterator[Image]:
    """Frames of a video, upright, in RGB, as they are decoded.

    Time stamps are those of the file (exact, also at a variable rate), from its start on: its sound may begin before
    the first frame. Pixels are as stored, also where they are not square.

    Args:
        file: open for reading.
        name: stands for it in results and errors.
        max_pixels: of a frame.

    Raises:
        SourceError: if PyAV is not installed, or it is no video; after the frames that can be read, if some cannot.
    """
    av = load_pyav(name)
    with _open(av, file, name) as container:
        stream = _image_stream(container, name)
        check_frame_size(stream.codec_context, name, max_pixels)
        progress = _Progress(_start(container))
        video, matrix = None, None
        for frame in _decode(av, container, stream, progress):
            check_frame_size(frame, name, max_pixels)
            matrix = matrix if video else read_display_matrix(frame)
            try:
                pixels = to_rgb(frame, matrix)
            except av.error.FFmpegError as error:
                progress.damage = progress.damage or reason(error)
                continue
            video = video or Video(
                name, Size(*pixels.shape[:2]), stream.average_rate, _num_frames(container, stream), is_live=False
            )
            yield Image(name, pixels, FrameInfo(video, progress.num_frames, _seconds(frame, stream, progress)))
            progress.num_frames += 1
        _raise_if_incomplete(container, stream, progress, name)


def count_frames(file: IO[bytes], name: str) -> int | None:
    """Frames of a video file as its header says or lets us guess; None if it does not.

    Raises:
        SourceError: if PyAV is not installed, or it is no video.
        OSError: if it cannot be read.
    """
    with _open(load_pyav(name), file, name) as container:
        return _num_frames(container, _image_stream(container, name))


def read_display_matrix(frame: Any) -> tuple[int, ...] | None:
    """How frames must be turned, see `turn_by_matrix`; asked of a video's first frame, it holds for all.

    PyAV keeps a frame that is asked for it in memory until Python collects cycles, so the others are not asked.
    """
    try:
        matrices = [struct.unpack("=9i", bytes(data)) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    except ValueError:
        # The frame has data of a kind that PyAV does not know, such as EXIF; its rotation can be had all the same.
        turns = round(-frame.rotation / 90) % 4
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
        return cosine, sine, 0, -sine, cosine, 0, 0, 0, 1
    return matrices[0] if matrices else None


def to_rgb(frame: Any, matrix: tuple[int, ...] | None) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of a decoded frame, whatever its pixel format, turned by its display matrix if there is one."""
    pixels: np.ndarray = frame.to_ndarray(format="rgb24")
    return turn_by_matrix(pixels, matrix) if matrix else pixels


@dataclass
class _Progress:
    start: Fraction
    """Seconds; time stamps count from here."""
    num_frames: int = 0
    damage: str = ""
    """What the decoder said of the first piece that it could not read."""
    num_packets: int = 0
    """Of images."""
    end: Fraction = Fraction(0)
    """Time stamp at which the last piece of anything, sound included, ends."""
    longest_gap: Fraction = _MIN_MISSING_SECONDS
    """Seconds between two images, one second at least."""
    decoding_time: Fraction | None = None
    """Of the last packet of images."""

    def count(self, packet: Any, *, is_image: bool) -> None:
        """Note until when a packet lasts. Decoders take packets in another order than that of their images."""
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            self.end = max(self.end, (time + (packet.duration or 0)) * packet.time_base)
        if is_image and packet.size:
            self.num_packets += 1
            if packet.dts is not None:
                now = packet.dts * packet.time_base
                self.longest_gap = max(
                    self.longest_gap, now - (now if self.decoding_time is None else self.decoding_time)
                )
                self.decoding_time = now


def _open(av: Any, file: IO[bytes], name: str) -> Any:
    try:
        file.seek(0)
        head = file.read(HEAD_BYTES)
        # FFmpeg takes a JPEG for one image if its name says so, and finds none between the headers of cameras.
        given_format = "mjpeg" if head.startswith(b"\xff\xd8") or is_multipart_jpeg(head) else None
        file.seek(0)
        # An open file, since FFmpeg takes some names for protocols; and no format that refers to other files.
        return av.open(
            file,
            format=given_format,
            options={"format_whitelist": SAFE_FORMATS, "protocol_whitelist": ""},
            metadata_errors="replace",
        )
    except av.error.EOFError as error:
        raise _no_frames(name) from error
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(
            f"{name} is no video that can be read, or its beginning or end is missing ({reason(error)});"
            " copy or download it again, or convert it to MP4"
        ) from error


def _image_stream(container: Any, name: str) -> Any:
    stream = container.streams.best("video")
    if stream is None:
        raise SourceError(f"{name} has no images in it; is it sound alone, or an empty recording?")
    if stream.codec_context is None:
        raise SourceError(f"{name} has images in a format that PyAV does not know; convert it to MP4")
    return stream


def check_frame_size(frame: Any, name: str, max_pixels: int) -> None:
    """Refuse frames, or a decoder of frames, above a number of pixels.

    Raises:
        SourceError: naming the source.
    """
    if frame.width * frame.height > max_pixels:
        raise SourceError(
            f"{name} has frames of {frame.width}x{frame.height} pixels, above the limit of {max_pixels:,};"
            " make it smaller first"
        )


def _decode(av: Any, container: Any, stream: Any, progress: _Progress) -> Iterator[Any]:
    """Frames that can be decoded; the first error is kept in `progress`."""
    packets = container.demux()
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError) as error:
            progress.damage = progress.damage or reason(error)
            return
        except IndexError:  # PyAV knows only the streams that are there at the start
            progress.damage = progress.damage or "a stream begins in the middle"
            return
        if packet is None:
            return
        progress.count(packet, is_image=packet.stream is stream)
        if packet.stream is not stream:
            continue
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, OSError) as error:
            if progress.num_frames or container.format.name not in STARTS_ANYWHERE:
                progress.damage = progress.damage or reason(error)
            continue
        yield from frames


def _start(container: Any) -> Fraction:
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.start_time is not None and stream.type in ("video", "audio")
    ]
    return min(starts, default=Fraction(0))


def _seconds(frame: Any, stream: Any, progress: _Progress) -> float:
    if frame.pts is None:  # old files count frames and nothing else
        return float(progress.num_frames / (stream.average_rate or _ASSUMED_RATE))
    return float(frame.pts * frame.time_base - progress.start)


def _num_frames(container: Any, stream: Any) -> int | None:
    if stream.frames:
        return int(stream.frames)
    if container.duration and stream.average_rate:
        return int(container.duration * _MICROSECOND * stream.average_rate)
    return None


def _raise_if_incomplete(container: Any, stream: Any, progress: _Progress, name: str) -> None:
    if progress.damage:
        raise SourceError(
            f"{name} is damaged or cut short ({progress.damage}): {progress.num_frames} frames were read, others could"
            " not be; copy or download it again"
        )
    if not progress.num_frames:
        raise _no_frames(name)
    missing = _declared_seconds(container, stream) - progress.end
    # How long the last image lasts is not always known: as long as any other, perhaps.
    if missing > progress.longest_gap and not (stream.frames and progress.num_packets >= stream.frames):
        raise SourceError(
            f"{name} is cut short: {progress.num_frames} frames were read, the last {float(missing):.1f} seconds are"
            " missing; copy or download it again"
        )


def _declared_seconds(container: Any, stream: Any) -> Fraction:
    """Time stamp at which the file says that it ends; 0 if it does not, and FFmpeg only estimates it."""
    kind = container.format.name
    if kind == "avi" and stream.average_rate:
        return Fraction(stream.frames) / Fraction(stream.average_rate)
    if kind.startswith(_FORMATS_WITH_DURATION) and container.duration:
        return int(container.duration) * _MICROSECOND
    return Fraction(0)


def _no_frames(name: str) -> SourceError:
    return SourceError(f"{name} has no frames; is it an empty recording?")
