from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mspn.datasets.crop_dataset import read_crops
from mspn.io.images import read_reduced_image
from mspn.models.base import normalize
from mspn.structures.boxes import Size
from mspn.structures.crop import CropFrame, cut_crop, transform_points
from tests.io.test_images import with_exif


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(1, 256, (height, width, 3), dtype=np.uint8)


def test_a_frame_of_the_whole_image_gives_the_image():
    image = noise(40, 30)

    crop = cut_crop(image, CropFrame((15, 20), 30, Size(40, 30)))

    np.testing.assert_array_equal(crop, image)


def test_a_frame_at_the_images_scale_is_a_slice_of_it():
    image = noise(40, 40)

    # Center (20, 22), 8 wide and 12 high: columns 16 to 23, rows 16 to 27.
    crop = cut_crop(image, CropFrame((20, 22), 8, Size(12, 8)))

    np.testing.assert_array_equal(crop, image[16:28, 16:24])


def test_outside_the_image_it_is_black():
    image = noise(20, 20)

    # Center at the corner: the lower right quarter of the crop is image.
    crop = cut_crop(image, CropFrame((0, 0), 8, Size(8, 8)))

    np.testing.assert_array_equal(crop[4:, 4:], image[:4, :4])
    assert not crop[:4].any()
    assert not crop[:, :4].any()


def test_a_mirrored_crop_is_the_crop_read_from_the_right():
    image = noise(40, 30)
    plain = cut_crop(image, CropFrame((15, 20), 30, Size(40, 30)))

    mirrored = cut_crop(image, CropFrame((15, 20), 30, Size(40, 30), mirrored=True))

    # x goes to 30 - x: column 1 to 29, column 29 to 1; column 0 comes from 30, outside the image.
    np.testing.assert_array_equal(mirrored[:, 1:], plain[:, :0:-1])


@pytest.mark.parametrize("rotation_degrees", [0, 30, -75])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_dot_appears_where_the_frame_says(rotation_degrees: float, mirrored: bool):
    image = np.zeros((200, 200, 3), np.uint8)
    image[119:122, 79:82] = 255  # around (80, 120)
    frame = CropFrame((100, 100), 96, Size(128, 96), rotation_degrees, mirrored)

    crop = cut_crop(image, frame)

    rows, columns = np.nonzero(crop[..., 0] > 127)
    expected = transform_points(np.array([80.0, 120.0]), frame.image_to_crop)
    np.testing.assert_allclose([columns.mean(), rows.mean()], expected, atol=0.5)


def test_a_reduced_image_gives_a_crop_of_its_own_pixels():
    reduced = noise(30, 30)

    # Reduced pixels 10 to 17 stand for pixels 40 to 71, which is 32 around 56, at a quarter of their size. A frame's
    # crop pixel 0 is at 56 - 16 = 40, reduced pixel 10 is in the middle of pixels 40 to 43, at 41.5: 1.5 / 4 later.
    shifted = cut_crop(reduced, CropFrame((56 + 1.5, 56 + 1.5), 32, Size(8, 8)), reduction=4)

    np.testing.assert_array_equal(shifted, reduced[10:18, 10:18])


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize(("rotation_degrees", "mirrored"), [(0, False), (0, True), (40, False)])
def test_a_crop_of_a_reduced_ramp_is_the_crop_of_the_ramp(reduction: int, rotation_degrees: float, mirrored: bool):
    # Averaging pixels of a ramp changes nothing: whole and reduced image must agree to the rounding.
    rows, columns = np.mgrid[:400, :320]
    ramp = np.stack([columns * 0.7, rows * 0.6, (rows + columns) * 0.3], axis=-1)
    reduced = ramp.reshape(400 // reduction, reduction, 320 // reduction, reduction, 3).mean((1, 3))
    frame = CropFrame((165.3, 201.8), 256, Size(32, 24), rotation_degrees, mirrored)

    whole = cut_crop(np.rint(ramp).astype(np.uint8), frame)

    inside = (slice(4, -4), slice(6, -6)) if rotation_degrees else (slice(2, -2), slice(2, -2))
    crop = cut_crop(np.rint(reduced).astype(np.uint8), frame, reduction)
    np.testing.assert_allclose(crop[inside].astype(int), whole[inside].astype(int), atol=2)


@pytest.mark.parametrize(("width_image", "reduction"), [(95, 1), (96, 2), (191, 2), (192, 4), (2000, 8)])
def test_a_crop_is_never_enlarged_from_a_reduced_image(width_image: float, reduction: int, tmp_path: Path):
    path = tmp_path / "noise.jpg"
    path.write_bytes(cv2.imencode(".jpg", noise(160, 120))[1].tobytes())
    frame = CropFrame((60, 80), width_image, Size(64, 48))

    (crop,) = read_crops(partial(read_reduced_image, path), [frame])

    # 96 pixels shown in 48 allow half the size, 192 a quarter.
    image = read_reduced_image(path, reduction)
    assert image.reduction == reduction
    np.testing.assert_array_equal(crop, cut_crop(image.pixels, frame, reduction))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_dot_is_at_the_same_place_in_a_crop_of_a_reduced_image(orientation: int, tmp_path: Path):
    # Odd sizes: 333 x 251 stored.
    drawn = cv2.circle(np.zeros((333, 251, 3), np.uint8), (60, 200), 12, (255, 255, 255), -1)
    drawn = cv2.GaussianBlur(drawn, (0, 0), 6)
    path = tmp_path / "dot.jpg"
    path.write_bytes(with_exif(cv2.imencode(".jpg", drawn)[1].tobytes(), orientation))
    # Turned by half, (x, y) becomes (250 - x, 332 - y); by a quarter clockwise, (332 - y, x).
    dot = {1: (60, 200), 3: (190, 132), 6: (132, 60)}[orientation]
    frame = CropFrame((130, 150), 240, Size(60, 45))

    (crop,) = read_crops(partial(read_reduced_image, path), [frame])

    weights = crop[..., 0].astype(float)
    rows, columns = np.mgrid[:60, :45]
    found = [(weights * columns).sum() / weights.sum(), (weights * rows).sum() / weights.sum()]
    np.testing.assert_allclose(found, transform_points(np.array(dot, float), frame.image_to_crop), atol=0.05)


def test_normalized_channels_are_rgb_with_the_imagenet_mean_and_deviation():
    crops = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1).expand(1, 1, 2, 3)

    normalized = normalize(crops)

    # (0 - mean) / deviation and (1 - mean) / deviation; red .485 and .229, green .456 and .224, blue .406 and .225.
    expected = torch.tensor([[-2.117904, 2.248908], [-2.035714, 2.428571], [-1.804444, 2.640000]]).reshape(1, 3, 1, 2)
    torch.testing.assert_close(normalized, expected, rtol=1e-5, atol=1e-5)


def test_normalized_crops_are_channels_last_in_memory():
    normalized = normalize(torch.zeros(2, 64, 32, 3, dtype=torch.uint8))

    assert normalized.shape == (2, 3, 64, 32)
    assert normalized.is_contiguous(memory_format=torch.channels_last)
