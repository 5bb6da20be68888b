"""Augmentation: random changes to the frame that a person is cut out with (paper Sec. 4.2)."""

import numpy as np
from jaxtyping import Float

from mspn.augmentation_config import AugmentationConfig
from mspn.geometry import CropFrame, fitted_width
from mspn.records import Box, Size
from mspn.skeleton import Skeleton

_FEWEST_FOR_A_BOX = 3


def augment_frame(
    box: Box,
    keypoints_image: Float[np.ndarray, "K 3"],
    size: Size,
    config: AugmentationConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
) -> CropFrame:
    """Draw the frame to cut a person out with.

    Args:
        box: the person's, in image pixels.
        keypoints_image: (x, y, visibility); decide which half body can be shown.
        size: of the crop.
        config: ranges and probabilities.
        skeleton: of the keypoints.
        rng: the only source of chance; the same state gives the same frame.

    Source: the released code's order: padding, half body, scale, rotation, mirror; the shift is MMPose's.
    """
    half = half_body_box(keypoints_image, config, skeleton, rng)
    if half is not None:
        box = half
    base = config.half_body_padding if half is not None else config.base_padding
    width_factor, height_factor = 1 + np.array(config.random_padding) * rng.random(2)
    width, height = box.width * base * width_factor, box.height * base * height_factor
    scale = _draw_between(*config.scale, config, rng)
    is_rotated = rng.random() < config.rotation_probability
    rotation = _draw_between(-config.max_rotation_degrees, config.max_rotation_degrees, config, rng)
    is_mirrored = rng.random() < config.mirror_probability
    center_x, center_y = box.center
    if config.max_shift and rng.random() < config.shift_probability:
        center_x += width * _draw_between(-config.max_shift, config.max_shift, config, rng)
        center_y += height * _draw_between(-config.max_shift, config.max_shift, config, rng)
    return CropFrame(
        center_image=(center_x, center_y),
        width_image=fitted_width(width, height, size) * scale,
        size=size,
        rotation_degrees=rotation if is_rotated else 0.0,
        mirrored=is_mirrored,
    )


def _draw_between(low: float, high: float, config: AugmentationConfig, rng: np.random.Generator) -> float:
    if config.distribution == "uniform":
        return rng.uniform(low, high)
    deviations = rng.standard_normal()
    while abs(deviations) > 1:
        deviations = rng.standard_normal()
    return (low + high) / 2 + deviations * (high - low) / 2


def half_body_box(
    keypoints_image: Float[np.ndarray, "K 3"],
    config: AugmentationConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
) -> Box | None:
    """Box of the upper or the lower body's labelled keypoints, or None where the whole body stays.

    A coin prefers a half; the other one serves where the preferred one has too few keypoints. The box has the extent
    of the keypoints, around its own middle or their mean.
    """
    labelled = keypoints_image[:, 2] > 0
    is_drawn = rng.random() < config.half_body_probability
    prefers_upper = rng.random() < config.half_body_upper_probability
    if not is_drawn or labelled.sum() <= config.half_body_above:
        return None
    is_upper = np.array([_is_upper(name, config, skeleton) for name in skeleton.keypoints])
    upper, lower = keypoints_image[labelled & is_upper, :2], keypoints_image[labelled & ~is_upper, :2]
    if (prefers_upper and len(upper) > config.half_body_needs) or len(lower) <= config.half_body_needs:
        chosen = upper
    else:
        chosen = lower
    if len(chosen) < _FEWEST_FOR_A_BOX:
        return None
    (left, top), (right, bottom) = chosen.min(0).tolist(), chosen.max(0).tolist()
    if right <= left or bottom <= top:
        return None
    width, height = right - left, bottom - top
    if config.half_body_center == "mean":
        center_x, center_y = chosen.mean(0).tolist()
        return Box(center_x - width / 2, center_y - height / 2, width, height)
    return Box(left, top, width, height)


def _is_upper(name: str, config: AugmentationConfig, skeleton: Skeleton) -> bool:
    is_moved = config.half_body_hips == "lower" and name.endswith("hip")
    return name in skeleton.upper and not is_moved
