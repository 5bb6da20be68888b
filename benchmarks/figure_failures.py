"""What goes wrong, shown on the two sample photographs: python -m benchmarks.figure_failures MODEL FIGURE.jpg

Each panel is a person's whole image for the network, so that no detector plays a part.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mspn.checkpoints.index import ASSETS
from mspn.io.images import read_image, write_jpeg
from mspn.predict.estimator import PoseEstimator
from mspn.structures.pose import Pose
from mspn.structures.shapes import UInt8
from mspn.visualize.contact_sheet import arrange_tiles, enlarge_crop, join_panels
from mspn.visualize.draw import draw_poses

_COLUMNS = 4
_SHAPE = (200, 256)
"""Width and height of a panel."""

Pixels = UInt8[np.ndarray, "H W 3"]


class Case(NamedTuple):
    caption: str
    photograph: str
    region: tuple[int, int, int, int]
    """Left, top, right, bottom."""
    change: Callable[[Pixels], Pixels]


def main(model: str, figure: Path) -> None:
    """Estimate, draw and write the sheet."""
    estimator = PoseEstimator(model, "none")
    tiles = []
    for case in _CASES:
        left, top, right, bottom = case.region
        pixels = case.change(
            np.ascontiguousarray(read_image(ASSETS / "sample" / case.photograph)[top:bottom, left:right])
        )
        (pose,) = estimator(pixels)
        tiles.append(join_panels([_panel(pixels, pose)], [case.caption, f"score {pose.score:.2f}"]))
    heading = f"{model}: left orange, right blue; the fainter, the less sure"
    write_jpeg(figure, arrange_tiles(tiles, [heading], columns=_COLUMNS))


def _panel(pixels: Pixels, pose: Pose) -> Pixels:
    drawn, _ = enlarge_crop(draw_poses(pixels, [pose]))
    return cv2.resize(drawn, _SHAPE, interpolation=cv2.INTER_AREA)


def _as_it_is(pixels: Pixels) -> Pixels:
    return pixels


def _upside_down(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[::-1, ::-1])


def _at_32_pixels(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (round(width * 32 / height), 32), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _at_night(pixels: Pixels) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    return np.clip(pixels * 0.06 + noise, 0, 255).astype(np.uint8)


def _half_hidden(pixels: Pixels) -> Pixels:
    hidden = pixels.copy()
    hidden[:, : hidden.shape[1] // 2] = 96
    return hidden


def _moved(pixels: Pixels) -> Pixels:
    return cv2.blur(pixels, (45, 1))


_ASTRONAUT = (20, 15, 365, 512)
_PHOTOGRAPHER = (0, 62, 335, 512)
_CASES = (
    Case("cut off at the knees: legs invented", "astronaut.jpg", _ASTRONAUT, _as_it_is),
    Case("from the side: near and far", "camera.jpg", _PHOTOGRAPHER, _as_it_is),
    Case("upside down", "astronaut.jpg", _ASTRONAUT, _upside_down),
    Case("32 pixels high", "astronaut.jpg", _ASTRONAUT, _at_32_pixels),
    Case("half hidden", "astronaut.jpg", _ASTRONAUT, _half_hidden),
    Case("at night", "astronaut.jpg", _ASTRONAUT, _at_night),
    Case("moved", "astronaut.jpg", _ASTRONAUT, _moved),
    Case("nobody: a pose all the same", "camera.jpg", (340, 100, 512, 330), _as_it_is),
)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
