import numpy as np
import pytest
from pydantic import ValidationError

from mspn.config.train import RELEASED_AUGMENTATION, STRONG_AUGMENTATION, AugmentationConfig
from mspn.datasets.augmentation import change_appearance, change_colors, compress_jpeg, occlude_rectangle


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def gradient() -> np.ndarray:
    return np.linspace(40, 200, 64 * 48 * 3).reshape(64, 48, 3).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_the_released_augmentation_leaves_pixels_alone(seed: int):
    assert np.array_equal(change_appearance(gradient(), RELEASED_AUGMENTATION, rng(seed)), gradient())


def test_strong_augmentation_changes_pixels_and_neither_size_nor_the_crop_that_it_was_given():
    crop = gradient()

    changed = [change_appearance(crop, STRONG_AUGMENTATION, rng(seed)) for seed in range(20)]

    assert np.array_equal(crop, gradient())
    assert all(one.shape == crop.shape and one.dtype == np.uint8 for one in changed)
    assert not any(np.array_equal(one, crop) for one in changed)


def test_the_same_state_of_chance_changes_the_same():
    first, second = (change_appearance(gradient(), STRONG_AUGMENTATION, rng(3)) for _ in range(2))

    assert np.array_equal(first, second)


def test_gray_pixels_keep_the_brightness_that_eyes_see():
    pixels = np.full((2, 2, 3), (200, 100, 50), np.uint8)

    gray = change_colors(pixels, 0.0, 1.0, rng())

    # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    assert np.array_equal(gray, np.full((2, 2, 3), 124, np.uint8))


def test_colors_change_by_the_share_at_most():
    gray = np.full((1, 1, 3), 128, np.uint8)

    # Contrast turns around 128 and gray has no saturation: brightness alone counts, 128 * 0.25 = 32 at most.
    changed = [int(change_colors(gray, 0.25, 0.0, rng(seed))[0, 0, 0]) for seed in range(200)]

    assert 96 <= min(changed) < 104
    assert 152 < max(changed) <= 160


@pytest.mark.parametrize("share", [0.02, 0.2, 1.0])
def test_a_rectangle_hides_its_share_of_the_crop(share: float):
    crop = np.zeros((100, 80, 3), np.uint8)

    hidden = [(occlude_rectangle(crop, share, rng(seed)) != 0).any(-1) for seed in range(50)]

    # Sides are whole pixels, and one that would be longer than the crop is cut.
    assert max(one.mean() for one in hidden) <= share * 1.1 + 1e-3
    assert np.median([one.mean() for one in hidden]) == pytest.approx(share, rel=0.3)
    assert np.any(hidden, axis=0).mean() > 0.5  # anywhere


def test_compression_loses_more_at_a_lower_quality_and_keeps_the_channels_apart():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    noise = rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)

    errors = [np.abs(compress_jpeg(noise, quality).astype(int) - noise).mean() for quality in (90, 10)]

    assert np.abs(compress_jpeg(red, 90).astype(int) - red).max() <= 4
    assert errors[0] < errors[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blur": (2.0, 1.0)}, "blur must be the lowest value, then the highest"),
        ({"occlusion": (0.1, 1.5)}, "occlusion is a share of the crop, 1 at most, not 1.5"),
        ({"jpeg_quality": (0, 50)}, "jpeg_quality must be from 1 to 100"),
    ],
)
def test_wrong_limits_are_refused(wrong: dict[str, tuple[float, float]], message: str):
    with pytest.raises(ValidationError, match=message):
        AugmentationConfig(**wrong)
