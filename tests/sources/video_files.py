"""Small videos, made on the spot."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (48, 64)
"""Height and width of the frames."""


def frame_pixels(number: int) -> np.ndarray:
    """Noise, another in each frame so that none is cheap to store, with a red top left corner."""
    pixels = np.random.default_rng(number).integers(0, 100, (*SIZE, 3), dtype=np.uint8)
    pixels[:24, :32] = (250, 10, 10)
    return pixels


def write_video(
    path: Path,
    *,
    num_frames: int = 20,
    codec: str = "mpeg4",
    pixel_format: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    **options: str,
) -> Path:
    """Write frames at ten a second, or at times in hundredths of a second."""
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = SIZE
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = Fraction(1, 100)
        stream.codec_context.gop_size = 5
        stream.bit_rate = 4_000_000  # every frame takes room in the file
        for number, tick in enumerate(ticks or range(0, 10 * num_frames, 10)):
            frame = av.VideoFrame.from_ndarray(frame_pixels(number), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut_short(path: Path, share: float = 0.6) -> Path:
    """Leave the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def set_display_matrix(path: Path, *numbers: int) -> Path:
    """Write (a b c d) of the display matrix into the track header of an MP4 file."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    a, b, c, d = (number << 16 for number in numbers)
    struct.pack_into(">9i", content, matrix, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path
