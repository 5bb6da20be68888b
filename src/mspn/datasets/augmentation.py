"""Random changes to a training crop: its frame (geometric), then its pixels (photometric)."""

import math

import cv2
import numpy as np

from mspn.config.train import AugmentationConfig
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import CropFrame, fitted_width
from mspn.structures.shapes import Float, UInt8
from mspn.structures.skeleton import Skeleton

_MIN_BOX_KEYPOINTS = 3


def augment_frame(
    box: Box,
    keypoints_image: Float[np.ndarray, "K 3"],
    size: Size,
    config: AugmentationConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
) -> CropFrame:
    """Draw a random frame for a person's crop.

    Args:
        box: the person's, in image pixels.
        keypoints_image: (x, y, visibility); they determine the half bodies.
        size: of the crop.
        config: ranges and probabilities.
        skeleton: of the keypoints.
        rng: the only source of randomness; the same state gives the same frame.

    Source: the released code's order: padding, half body, scale, rotation, mirror; the shift is MMPose's.
    """
    half_body = half_body_box(keypoints_image, config, skeleton, rng)
    if half_body is not None:
        box = half_body
    base = config.half_body_padding if half_body is not None else config.base_padding
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
    """Box of the upper or the lower body's labeled keypoints, or None to keep the whole body.

    One half is preferred at random; if it has too few keypoints, the other is taken. The box has the extent of the
    keypoints, centered on its middle or on their mean.
    """
    labeled = keypoints_image[:, 2] > 0
    is_drawn = rng.random() < config.half_body_probability
    prefers_upper = rng.random() < config.half_body_upper_probability
    if not is_drawn or labeled.sum() <= config.half_body_above:
        return None
    upper, lower = _halves(keypoints_image, config, skeleton)
    if (prefers_upper and len(upper) > config.half_body_needs) or len(lower) <= config.half_body_needs:
        return _box_of_half(upper, config)
    return _box_of_half(lower, config)


def _halves(
    keypoints_image: Float[np.ndarray, "K 3"], config: AugmentationConfig, skeleton: Skeleton
) -> tuple[Float[np.ndarray, "upper 2"], Float[np.ndarray, "lower 2"]]:
    """The labeled keypoints of the upper and of the lower body."""
    labeled = keypoints_image[:, 2] > 0
    is_upper = np.array([_is_upper(name, config, skeleton) for name in skeleton.keypoints])
    return keypoints_image[labeled & is_upper, :2], keypoints_image[labeled & ~is_upper, :2]


def _box_of_half(points: Float[np.ndarray, "N 2"], config: AugmentationConfig) -> Box | None:
    if len(points) < _MIN_BOX_KEYPOINTS:
        return None
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    if right <= left or bottom <= top:
        return None
    width, height = right - left, bottom - top
    if config.half_body_center == "mean":
        center_x, center_y = points.mean(0).tolist()
        return Box(center_x - width / 2, center_y - height / 2, width, height)
    return Box(left, top, width, height)


def _is_upper(name: str, config: AugmentationConfig, skeleton: Skeleton) -> bool:
    counts_as_lower = config.half_body_hips == "lower" and name.endswith("hip")
    return name in skeleton.upper and not counts_as_lower


def widest_width(box: Box, padding: float, size: Size, config: AugmentationConfig) -> float:
    """Image pixels that the width of the widest crop covers which `augment_frame` draws around a box."""
    width_factor, height_factor = 1 + np.array(config.random_padding)
    width, height = box.width * padding * width_factor, box.height * padding * height_factor
    return float(fitted_width(width, height, size) * config.scale[1])


def reach_of_frames(
    box: Box, keypoints_image: Float[np.ndarray, "K 3"], size: Size, config: AugmentationConfig, skeleton: Skeleton
) -> Box:
    """The part of the image that crops show, however `augment_frame` draws their frames; arguments as there."""
    regions = [(box, config.base_padding)]
    if config.half_body_probability:
        halves = (_box_of_half(points, config) for points in _halves(keypoints_image, config, skeleton))
        regions += [(half, config.half_body_padding) for half in halves if half is not None]
    turn = math.radians(config.max_rotation_degrees) if config.rotation_probability else 0.0
    shift = config.max_shift if config.shift_probability else 0.0
    corners = []
    for region, padding in regions:
        half_width = widest_width(region, padding, size, config) / 2
        half_height = half_width * size.height / size.width
        shift_x, shift_y = shift * padding * np.array(region[2:]) * (1 + np.array(config.random_padding))
        reach_x = _turned_reach(half_width, half_height, turn) + float(shift_x)
        reach_y = _turned_reach(half_height, half_width, turn) + float(shift_y)
        center_x, center_y = region.center
        corners.append((center_x - reach_x, center_y - reach_y, center_x + reach_x, center_y + reach_y))
    lefts, tops, rights, bottoms = zip(*corners, strict=True)
    left, top = min(lefts), min(tops)
    return Box(left, top, max(rights) - left, max(bottoms) - top)


def _turned_reach(along: float, across: float, max_angle: float) -> float:
    """How far a rectangle of these half sides reaches along the first, turned by any angle up to the given one."""
    angle = min(max_angle, math.atan2(across, along))
    return along * math.cos(angle) + across * math.sin(angle)


_LUMA = np.array([0.299, 0.587, 0.114])

Pixels = UInt8[np.ndarray, "H W 3"]


def change_appearance(crop: Pixels, config: AugmentationConfig, rng: np.random.Generator) -> Pixels:
    """Occlude, blur, change colors and compress, each with its configured probability; RGB in, RGB out, not in place.

    The order is that of a camera: something occludes the person, the lens blurs, the sensor changes colors, the file is
    compressed.
    """
    if rng.random() < config.occlusion_probability:
        crop = occlude_rectangle(crop, rng.uniform(*config.occlusion), rng)
    if rng.random() < config.blur_probability:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(*config.blur))
    if config.max_color or config.gray_probability:
        crop = change_colors(crop, config.max_color, config.gray_probability, rng)
    if rng.random() < config.jpeg_probability:
        crop = compress_jpeg(crop, int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1)))
    return crop


def change_colors(pixels: Pixels, max_change: float, gray_probability: float, rng: np.random.Generator) -> Pixels:
    """Change brightness, contrast and saturation, each by up to `max_change` (a share); to gray with a probability."""
    brightness, contrast, saturation = rng.uniform(-max_change, max_change, 3)
    if rng.random() < gray_probability:
        saturation = -1.0
    # One linear map does all three: v -> contrast * (gray + saturation * (v - gray) - 128) + 128 + brightness.
    mix = (1 + contrast) * ((1 + saturation) * np.eye(3) - saturation * np.tile(_LUMA, (3, 1)))
    offset = 128 * (brightness - contrast)
    return cv2.transform(pixels, np.column_stack([mix, np.full(3, offset)]))


def occlude_rectangle(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Fill a random rectangle that covers this share of the area with one color."""
    height, width = pixels.shape[:2]
    aspect = np.exp(rng.uniform(np.log(0.5), np.log(2)))
    patch_height = min(height, round(np.sqrt(share * height * width * aspect)))
    patch_width = min(width, round(np.sqrt(share * height * width / aspect)))
    top, left = rng.integers(height - patch_height + 1), rng.integers(width - patch_width + 1)
    occluded = pixels.copy()
    occluded[top : top + patch_height, left : left + patch_width] = rng.integers(256, size=3)
    return occluded


def compress_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Encode as JPEG of this quality, 1 to 100, and decode again."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), flags)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
