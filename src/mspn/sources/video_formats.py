"""Which files are videos, by suffix and by content."""

import io
import re
from typing import IO

from mspn.io.image_headers import ImageHeader, read_header

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
