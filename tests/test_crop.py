import numpy as np
import pytest
import torch

from mspn.crop import cut_crop, normalise
from mspn.geometry import CropFrame, transform_points
from mspn.records import Size


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(1, 256, (height, width, 3), dtype=np.uint8)


def test_a_frame_of_the_whole_picture_gives_the_picture():
    image = noise(40, 30)

    crop = cut_crop(image, CropFrame((15, 20), 30, Size(40, 30)))

    np.testing.assert_array_equal(crop, image)


def test_a_frame_at_the_pictures_scale_is_a_slice_of_it():
    image = noise(40, 40)

    # Center (20, 22), 8 wide and 12 high: columns 16 to 23, rows 16 to 27.
    crop = cut_crop(image, CropFrame((20, 22), 8, Size(12, 8)))

    np.testing.assert_array_equal(crop, image[16:28, 16:24])


def test_outside_the_picture_it_is_black():
    image = noise(20, 20)

    # Center at the corner: the lower right quarter of the crop is picture.
    crop = cut_crop(image, CropFrame((0, 0), 8, Size(8, 8)))

    np.testing.assert_array_equal(crop[4:, 4:], image[:4, :4])
    assert not crop[:4].any()
    assert not crop[:, :4].any()


def test_a_mirrored_crop_is_the_crop_read_from_the_right():
    image = noise(40, 30)
    plain = cut_crop(image, CropFrame((15, 20), 30, Size(40, 30)))

    mirrored = cut_crop(image, CropFrame((15, 20), 30, Size(40, 30), mirrored=True))

    # x goes to 30 - x: column 1 to 29, column 29 to 1; column 0 comes from 30, outside the picture.
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


def test_normalised_channels_are_rgb_with_the_imagenet_mean_and_deviation():
    crops = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1).expand(1, 1, 2, 3)

    normalised = normalise(crops)

    # (0 - mean) / deviation and (1 - mean) / deviation; red .485 and .229, green .456 and .224, blue .406 and .225.
    expected = torch.tensor([[-2.117904, 2.248908], [-2.035714, 2.428571], [-1.804444, 2.640000]]).reshape(1, 3, 1, 2)
    torch.testing.assert_close(normalised, expected, rtol=1e-5, atol=1e-5)


def test_normalised_crops_are_channels_last_in_memory():
    normalised = normalise(torch.zeros(2, 64, 32, 3, dtype=torch.uint8))

    assert normalised.shape == (2, 3, 64, 32)
    assert normalised.is_contiguous(memory_format=torch.channels_last)
