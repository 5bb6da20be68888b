"""Draw what the package's sample images lack, from those it has: a scene of several people, and a video of it.

Run: python -m benchmarks.sample_scenes src/mspn/assets/sample
"""

import sys
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from mspn.io.files import replacing
from mspn.io.images import read_image, write_jpeg
from mspn.structures.boxes import Size
from mspn.structures.shapes import Float, UInt8

SCENE = Size(480, 800)
VIEW = Size(320, 480)
"""What the video shows of the scene at once."""
_FRAMES, _RATE = 50, 25
_HORIZON = 0.45


class Cut(NamedTuple):
    """A person to cut out of an image and lay into the scene."""

    image: str
    region: tuple[int, int, int, int]
    """Left, top, right, bottom in the image."""
    place: tuple[int, int]
    """Left and top in the scene."""
    height: int
    mirrored: bool


CUTS = (
    Cut("camera.jpg", (60, 50, 470, 500), (40, 150), 300, False),
    Cut("astronaut.jpg", (20, 0, 450, 512), (300, 60), 400, False),
    Cut("camera.jpg", (60, 50, 470, 500), (590, 220), 180, True),
)


def main() -> None:
    folder = Path(sys.argv[1])
    scene = draw_scene(folder)
    write_jpeg(folder / "scene.jpg", scene)
    write_pan(folder / "pan.mp4", scene)


def draw_scene(folder: Path) -> UInt8[np.ndarray, "480 800 3"]:
    """People in front of a plain sky and ground."""
    height, width = SCENE
    rows = np.linspace(0, 1, height)[:, None, None]
    sky, ground = np.array([150, 190, 225]), np.array([130, 140, 100])
    scene = np.where(rows < _HORIZON, sky + 60 * rows, ground + 50 * (rows - _HORIZON)) * np.ones((1, width, 1))
    for cut in CUTS:
        left, top, right, bottom = cut.region
        pixels = read_image(folder / cut.image)[top:bottom, left:right]
        size = (round(cut.height * (right - left) / (bottom - top)), cut.height)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        if cut.mirrored:
            pixels = pixels[:, ::-1]
        x, y = cut.place
        below = scene[y : y + size[1], x : x + size[0]]
        opacity = _soft_edges(*below.shape[:2])
        below[:] = pixels[: len(below), : below.shape[1]] * opacity + below * (1 - opacity)
    return scene.clip(0, 255).astype(np.uint8)


def _soft_edges(height: int, width: int) -> Float[np.ndarray, "height width 1"]:
    """1 inside, fading out over the outermost tenth on the left, top and right."""
    from_side = np.minimum(np.arange(width), np.arange(width)[::-1]) / (0.1 * width)
    from_top = np.arange(height) / (0.1 * height)
    edges: np.ndarray = np.clip(np.minimum(from_top[:, None], from_side[None]), 0, 1)[..., None]
    return edges


def write_pan(path: Path, scene: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write a video that looks along the scene."""
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_RATE, options={"crf": "26"})
        stream.width, stream.height = VIEW.width, VIEW.height
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, _RATE)
        for number in range(_FRAMES):
            left = round((scene.shape[1] - VIEW.width) * number / (_FRAMES - 1))
            top = (scene.shape[0] - VIEW.height) // 2
            view = np.ascontiguousarray(scene[top : top + VIEW.height, left : left + VIEW.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    main()
