import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest

from mspn.errors import SourceError
from mspn.sources.in_memory import PillowImage, check_array, read_pillow_image

_ROWS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


@dataclass
class PillowStandIn:
    """Stands for `PIL.Image.Image`, which need not be installed."""

    pixels: np.ndarray
    mode: str = "RGB"
    exif: dict[int, int] = field(default_factory=dict)
    info: Mapping[Any, Any] = field(default_factory=dict)
    damage: str = ""

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]

    def getexif(self) -> dict[int, int]:
        return self.exif

    def convert(self, mode: str) -> np.ndarray:
        if self.damage:
            raise OSError(self.damage)
        return self.pixels


def test_an_array_is_taken_as_it_is():
    assert check_array(_ROWS) is _ROWS


@pytest.mark.parametrize(
    "array",
    [
        _ROWS.astype(np.float32),
        _ROWS[..., 0],
        np.zeros((2, 3, 4), np.uint8),
        np.zeros((0, 3, 3), np.uint8),
        np.array(1, np.uint8),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray):
    with pytest.raises(
        SourceError, match=rf"an array of {array.dtype} with shape .* give RGB as uint8 of shape \(H, W, 3\)"
    ):
        check_array(array)


def test_an_image_is_turned_upright():
    # Orientation 6: the first column, read upwards, is the first row.
    pixels = read_pillow_image(PillowStandIn(_ROWS, exif={274: 6}), 100)

    assert pixels[..., 0].tolist() == [[9, 0], [12, 3], [15, 6]]


def test_transparency_is_laid_on_white():
    half = np.array([[[100, 0, 0, 128], [100, 0, 0, 0]]], np.uint8)

    pixels = read_pillow_image(PillowStandIn(half, mode="RGBA"), 100)

    # 100 * 128/255 + 255 * 127/255 = 177.2, 0 + 127
    assert pixels.tolist() == [[[177, 127, 127], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (PillowStandIn(np.zeros((20, 30, 3), np.uint8)), "30x20 pixels is above the limit of 100; make it smaller"),
        (PillowStandIn(_ROWS, mode="I;16"), "mode I;16 does not say what is white; convert it to RGB"),
        (
            PillowStandIn(_ROWS, damage="image file is truncated"),
            r"cannot be decoded \(image file is truncated\); is its file",
        ),
    ],
)
def test_images_of_no_use_are_refused(image: PillowStandIn, problem: str):
    with pytest.raises(SourceError, match=problem):
        read_pillow_image(image, 100)


def test_pillow_itself_offers_what_is_used():
    pillow = pytest.importorskip("PIL.Image")
    encoded = cv2.imencode(".png", np.full((4, 5, 3), (10, 20, 30), np.uint8))[1].tobytes()

    image = pillow.open(io.BytesIO(encoded))

    assert isinstance(image, PillowImage)
    pixels = read_pillow_image(image, 100)
    assert pixels.shape == (4, 5, 3)
    assert pixels[0, 0].tolist() == [30, 20, 10]
    gray = pillow.new("LA", (2, 1), (100, 0))
    assert read_pillow_image(gray, 100).tolist() == [[[255] * 3, [255] * 3]]
