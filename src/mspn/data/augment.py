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

    Source: the released code's order: padding, half body, scale, rotation, mirror.
    """
    half = half_body_box(keypoints_image, config, skeleton, rng)
    if half is not None:
        box = half
    base = 1.0 if half is not None else config.base_padding
    width_factor, height_factor = 1 + np.array(config.random_padding) * rng.random(2)
    width = fitted_width(box.width * base * width_factor, box.height * base * height_factor, size)
    width *= rng.uniform(*config.scale)
    is_rotated = rng.random() < config.rotation_probability
    rotation = rng.uniform(-config.max_rotation_degrees, config.max_rotation_degrees)
    return CropFrame(
        center_image=box.center,
        width_image=width,
        size=size,
        rotation_degrees=rotation if is_rotated else 0.0,
        mirrored=rng.random() < config.mirror_probability,
    )


def half_body_box(
    keypoints_image: Float[np.ndarray, "K 3"],
    config: AugmentationConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
) -> Box | None:
    """Box around the upper or the lower body's labelled keypoints, or None where the whole body stays.

    A fair coin prefers a half; the other one serves where the preferred one has too few keypoints.
    """
    labelled = keypoints_image[:, 2] > 0
    is_drawn = rng.random() < config.half_body_probability
    prefers_upper = rng.random() < 0.5
    if not is_drawn or labelled.sum() <= config.half_body_above:
        return None
    upper = keypoints_image[[index for index in skeleton.upper_indices if labelled[index]], :2]
    lower = keypoints_image[[index for index in skeleton.lower_indices if labelled[index]], :2]
    if (prefers_upper and len(upper) > config.half_body_needs) or len(lower) <= config.half_body_needs:
        chosen = upper
    else:
        chosen = lower
    if len(chosen) < _FEWEST_FOR_A_BOX:
        return None
    (left, top), (right, bottom) = chosen.min(0).tolist(), chosen.max(0).tolist()
    if right <= left or bottom <= top:
        return None
    return Box(left, top, right - left, bottom - top)
