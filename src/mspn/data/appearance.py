"""Augmentation: random changes to pixels, which leave everything where it is."""

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.augmentation_config import AugmentationConfig

_LUMA = np.array([0.299, 0.587, 0.114])

Pixels = UInt8[np.ndarray, "H W 3"]


def change_appearance(crop: Pixels, config: AugmentationConfig, rng: np.random.Generator) -> Pixels:
    """Change colours, blur, hide a part, and compress, each as the settings ask; RGB in, RGB out, another array.

    Nothing is drawn for what the settings leave out. In the order in which a camera would: something stands before the
    person, the lens blurs, the sensor colours, the file compresses.
    """
    if rng.random() < config.occlusion_probability:
        crop = hide_rectangle(crop, rng.uniform(*config.occlusion), rng)
    if rng.random() < config.blur_probability:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(*config.blur))
    if config.max_colour or config.grey_probability:
        crop = change_colours(crop, config.max_colour, config.grey_probability, rng)
    if rng.random() < config.jpeg_probability:
        crop = compress(crop, int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1)))
    return crop


def change_colours(pixels: Pixels, most: float, grey_probability: float, rng: np.random.Generator) -> Pixels:
    """Change brightness, contrast and saturation by up to a share each, now and then to grey."""
    brightness, contrast, saturation = rng.uniform(-most, most, 3)
    if rng.random() < grey_probability:
        saturation = -1.0
    # One linear map does all three: v -> contrast * (grey + saturation * (v - grey) - 128) + 128 + brightness.
    mix = (1 + contrast) * ((1 + saturation) * np.eye(3) - saturation * np.tile(_LUMA, (3, 1)))
    offset = 128 * (brightness - contrast)
    return cv2.transform(pixels, np.column_stack([mix, np.full(3, offset)]))


def hide_rectangle(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Paint a rectangle of one colour over that share of the area, anywhere inside."""
    height, width = pixels.shape[:2]
    aspect = np.exp(rng.uniform(np.log(0.5), np.log(2)))
    hidden_height = min(height, round(np.sqrt(share * height * width * aspect)))
    hidden_width = min(width, round(np.sqrt(share * height * width / aspect)))
    top, left = rng.integers(height - hidden_height + 1), rng.integers(width - hidden_width + 1)
    hidden = pixels.copy()
    hidden[top : top + hidden_height, left : left + hidden_width] = rng.integers(256, size=3)
    return hidden


def compress(pixels: Pixels, quality: int) -> Pixels:
    """What a JPEG of that quality, 1 to 100, keeps."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), flags)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
