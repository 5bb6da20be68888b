"""Does reading a long video take more memory the longer it gets?

A drawn video is looped to the length asked for, opened as a source and read to its end; nothing is kept. The memory of
the process (RSS) after 500 frames must be that at the end, within 10 %.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mspn.sources import open_sources
from mspn.structures.image import Image

_SIZE = (360, 640)
_LOOP_FRAMES = 100
_FRAME_RATE = 25
_WARM_FRAMES = 500
_MAX_GROWTH = 0.10
_PAGE_BYTES = 4096


def main() -> None:
    """Print the memory now and then, and the growth since frame 500."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = write_looped_video(Path(folder) / "looped.mp4", options.frames)
        measure_growth(iter(open_sources([video])), options.frames)


def measure_growth(results: Iterator[object], num_frames: int) -> None:
    """Go through the results of a video's frames, and print the memory at every tenth of them."""
    start = time.perf_counter()
    warm = most = 0.0
    print("frame   RSS MB")
    for number, result in enumerate(results, 1):
        assert not isinstance(result, Image) or result.frame is not None
        if number == _WARM_FRAMES:
            warm = rss_bytes()
        if number >= _WARM_FRAMES and number % 100 == 0:
            most = max(most, rss_bytes())
        if number % (num_frames // 10) == 0:
            print(f"{number:6}{rss_bytes() / 1e6:8.1f}")
    growth = most / warm - 1
    print(f"{num_frames / (time.perf_counter() - start):.0f} frames a second")
    print(f"most after frame {_WARM_FRAMES}: {growth:+.1%} of the {warm / 1e6:.1f} MB there")
    print(f"flat within {_MAX_GROWTH:.0%}: {'yes' if growth <= _MAX_GROWTH else 'no'}")


def write_looped_video(path: Path, num_frames: int) -> Path:
    """Encode a square that moves over noise, and repeat its packets until there are enough."""
    noise = np.random.default_rng(0).integers(0, 255, (*_SIZE, 3), dtype=np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=_FRAME_RATE)
        stream.height, stream.width = _SIZE
        stream.pix_fmt = "yuv420p"
        packets = []
        for number in range(_LOOP_FRAMES):
            pixels = noise.copy()
            pixels[100:200, 5 * number : 5 * number + 100] = 255
            packets += stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
        packets += stream.encode()
        encoded = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for number in range(num_frames):
            content, is_keyframe = encoded[number % _LOOP_FRAMES]
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, _FRAME_RATE)
            packet.pts = packet.dts = number
            packet.is_keyframe = is_keyframe
            container.mux(packet)
    return path


def rss_bytes() -> float:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * _PAGE_BYTES


if __name__ == "__main__":
    main()
