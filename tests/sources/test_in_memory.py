import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mspn.errors import SourceError
from mspn.io.images import read_image
from mspn.sources.in_memory import PillowImage, read_array, read_in_memory, read_pillow_image, read_tensor

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
    assert read_array(_ROWS) is _ROWS


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_a_gray_array_is_repeated_over_the_channels(shape: tuple[int, ...]):
    gray = np.array([10, 20, 30, 40, 50, 60], np.uint8).reshape(shape)

    rgb = read_array(gray)

    assert rgb.shape == (2, 3, 3)
    assert rgb[1].tolist() == [[40, 40, 40], [50, 50, 50], [60, 60, 60]]


def test_an_array_with_four_channels_is_refused():
    with pytest.raises(SourceError, match=r"shape \(2, 3, 4\) has four channels; give RGB of shape \(H, W, 3\), for"):
        read_array(np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(SourceError, match="has four channels"):
        read_tensor(torch.zeros(2, 3, 4, dtype=torch.uint8))


@pytest.mark.parametrize(
    "array",
    [
        _ROWS.astype(np.float32),
        _ROWS[None],
        np.zeros((2, 3, 2), np.uint8),
        np.zeros((0, 3, 3), np.uint8),
        np.array(1, np.uint8),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray):
    with pytest.raises(
        SourceError, match=rf"an array of {array.dtype} with shape \(.*\) is not an image; give uint8 of shape \(H, W\)"
    ):
        read_array(array)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.from_numpy(_ROWS),
        torch.from_numpy(np.repeat(_ROWS, 2, axis=1)).permute(2, 0, 1),  # six columns: only the first axis fits
    ],
    ids=["channels last", "channels first"],
)
def test_a_tensor_is_taken_with_channels_last_or_first(tensor: torch.Tensor):
    pixels = read_tensor(tensor)

    assert pixels[0, 0].tolist() == [0, 1, 2]
    assert pixels[1, -1].tolist() == [15, 16, 17]


@pytest.mark.parametrize("shape", [(2, 4), (1, 2, 4), (2, 4, 1)])
def test_a_gray_tensor_is_repeated_over_the_channels(shape: tuple[int, ...]):
    pixels = read_tensor(torch.arange(8, dtype=torch.uint8).reshape(shape))

    assert pixels.shape == (2, 4, 3)
    assert pixels[1, 2].tolist() == [6, 6, 6]


def test_channels_last_wins_where_both_fit():
    tensor = torch.arange(27, dtype=torch.uint8).reshape(3, 3, 3)

    assert read_tensor(tensor)[0, 1].tolist() == [3, 4, 5]


def test_a_tensor_of_float_numbers_is_refused():
    with pytest.raises(SourceError, match=r"a tensor of torch\.float32 is not an image; give uint8 .* from 0 to 255"):
        read_tensor(torch.zeros(3, 4, 5))


def test_what_is_no_image_is_refused():
    with pytest.raises(TypeError, match="a path, an array, a tensor or a Pillow image, not int"):
        read_in_memory(3)  # type: ignore[arg-type]


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
        (
            PillowStandIn(np.array([[-1, 5]]), mode="I"),
            "mode I has values outside 0 to 255, .* or convert it to L or RGB",
        ),
        (PillowStandIn(np.array([[255.5, 5]]), mode="F"), "mode F has values outside 0 to 255"),
        (PillowStandIn(np.array([[np.nan, 5]]), mode="F"), "mode F has values outside 0 to 255"),
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


PILLOW_MODES = [
    ("1", [0, 1], [0, 255]),
    ("L", [7, 200], [7, 200]),
    ("I", [7, 255], [7, 255]),
    ("F", [7.4, 200.6], [7, 201]),
    # 16 bits keep the high byte: 0x12ff -> 0x12 = 18.
    ("I;16", [0x12FF, 0xFFFF], [18, 255]),
    ("I;16B", [0x12FF, 0xFFFF], [18, 255]),
]


@pytest.mark.parametrize(("mode", "values", "expected"), PILLOW_MODES, ids=[mode for mode, _, _ in PILLOW_MODES])
def test_gray_pillow_images_of_any_mode_are_taken(mode: str, values: list[float], expected: list[int]):
    image = pytest.importorskip("PIL.Image").new(mode, (2, 1))
    for column, value in enumerate(values):
        image.putpixel((column, 0), value)

    assert read_pillow_image(image, 100).tolist() == [[[value] * 3 for value in expected]]


def test_pillow_images_with_a_palette_or_cmyk_are_taken():
    pillow = pytest.importorskip("PIL.Image")
    palette = pillow.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])

    assert read_pillow_image(palette, 100).tolist() == [[[10, 20, 30]]]
    # No cyan, all magenta, half of yellow (128 of 255), no black.
    assert read_pillow_image(pillow.new("CMYK", (1, 1), (0, 255, 128, 0)), 100).tolist() == [[[255, 0, 127]]]


def test_pillow_images_of_premultiplied_gray_are_taken():
    pillow = pytest.importorskip("PIL.Image")
    # 100 is 200 at an opacity of 128; 200 * 128 / 255 and 127 are 227.
    assert read_pillow_image(pillow.new("La", (1, 1), (100, 128)), 100).tolist() == [[[227, 227, 227]]]


def test_a_16_bit_image_in_memory_is_the_image_in_its_file(tmp_path: Path):
    pillow = pytest.importorskip("PIL.Image")
    gray = np.array([[0, 255, 256, 40_000, 65_535]], np.uint16)
    path = tmp_path / "gray.png"
    cv2.imwrite(str(path), gray)

    with pillow.open(path) as image:
        np.testing.assert_array_equal(read_pillow_image(image, 100), read_image(path))
