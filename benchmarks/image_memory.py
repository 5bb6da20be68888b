"""How much memory does an image take while it is decoded?

Noise, and one color, are written in each format; a process of its own reads each file (on Linux). Printed are bytes a
pixel: of the file, of the memory (RSS) that reading adds at its highest, and of what `mspn.io.images` counts for the
file and its decoder, below which the memory must stay.
"""

import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mspn.io.image_headers import read_header
from mspn.io.images import _decoder_bytes

_SIZE = (1600, 2000)
_READ = """
import re, sys
from pathlib import Path
from mspn.io.images import read_image

def peak():
    # Linux's ru_maxrss is at first that of the parent.
    return 1024 * int(re.search("VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = peak()
height, width, _ = read_image(Path(sys.argv[1]), 10**9).shape
print((peak() - before) / (height * width))
"""
_SLACK = 1.0
"""Bytes a pixel, of what does not grow with the image."""


def main() -> None:
    """Print a row for each file, and whether all stay below what is counted."""
    print(f"{'image':18}{'file':>7}{'memory':>8}{'counted':>9}")
    are_below = True
    with tempfile.TemporaryDirectory() as folder:
        for name, encoded in make_images():
            path = Path(folder) / name
            path.write_bytes(encoded)
            in_file = len(encoded) / (_SIZE[0] * _SIZE[1])
            header = read_header(io.BytesIO(encoded))
            assert header is not None, name
            counted = in_file + _decoder_bytes(header, stretch=False)
            memory = measure(path)
            are_below &= memory <= counted + _SLACK
            print(f"{name:18}{in_file:7.2f}{memory:8.2f}{counted:9.2f}", flush=True)
    print(f"all below what is counted: {'yes' if are_below else 'no'}")


def measure(path: Path) -> float:
    """Bytes a pixel that reading an image adds to the memory of a process at its highest."""
    done = subprocess.run([sys.executable, "-c", _READ, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def make_images() -> Iterator[tuple[str, bytes]]:
    """Names and contents of image files, of all formats that OpenCV writes here."""
    rng = np.random.default_rng(0)
    for kind in ("noise", "flat"):
        for dtype in (np.uint8, np.uint16):
            shape, most = (*_SIZE, 4), np.iinfo(dtype).max
            pixels = rng.integers(0, most, shape, dtype) if kind == "noise" else np.full(shape, most // 3, dtype)
            suffixes = ["png", "tiff", *(["jpg", "webp", "bmp", "avif"] if dtype == np.uint8 else [])]
            for suffix in suffixes:
                for channels, number in {"gray": 1, "rgb": 3, "rgba": 4}.items():
                    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if suffix == "jpg" else []
                    options += [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == "png" else []
                    options += [cv2.IMWRITE_AVIF_SPEED, 10] if suffix == "avif" else []
                    image = np.ascontiguousarray(pixels[..., :number])
                    yield (
                        f"{kind}-{channels}{8 * image.itemsize}.{suffix}",
                        cv2.imencode(f".{suffix}", image, options)[1].tobytes(),
                    )


if __name__ == "__main__":
    main()
