"""What a training loop does that follows the released code step by step: our yardstick for speed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mspn.config.model import CHANNEL_DEVIATION, CHANNEL_MEAN
from mspn.config.recipe import Recipe
from mspn.config.train import SupervisionConfig
from mspn.datasets.augmentation import augment_frame
from mspn.datasets.people import People
from mspn.datasets.samples import SampleRequest
from mspn.models.base import RELEASED_PEAK
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import HEATMAP_STRIDE, CropFrame, cut_crop, transform_points


class MapSample(NamedTuple):
    """A crop with its label maps, or a batch of them."""

    crop: Tensor
    """(3, H, W) float32, normalized."""
    maps: Tensor
    """(kernels, K, H/4, W/4) float32 with peak 255; kernels from wide to narrow."""
    visibility: Tensor
    """(K,)."""


class MapDataset(Dataset[MapSample]):
    """The same people in the same frames as `CropDataset` gives: whole images decoded, label maps drawn."""

    def __init__(self, people: People, recipe: Recipe) -> None:
        self.people = people
        self.recipe = recipe

    def __getitem__(self, draw: SampleRequest) -> MapSample:
        size = self.recipe.model.input_size
        skeleton = self.recipe.keypoint_table
        frame = draw_frame(self.people, self.recipe, draw)
        crop = cut_crop(read_whole(self.people, draw), frame)
        order = skeleton.mirror_order if frame.mirrored else list(range(len(skeleton.keypoints)))
        keypoints_image = self.people.keypoints_image[draw.sample_index, order]
        keypoints_crop = transform_points(keypoints_image[:, :2], frame.image_to_crop)
        inside = ((keypoints_crop >= 0) & (keypoints_crop <= (size.width - 1, size.height - 1))).all(1)
        visibility = keypoints_image[:, 2] * inside
        maps = draw_label_maps(keypoints_crop, visibility, size, self.recipe.supervision.kernel_sizes)
        return MapSample(torch.from_numpy(normalize_crop(crop)), torch.from_numpy(maps), torch.from_numpy(visibility))


def draw_frame(people: People, recipe: Recipe, draw: SampleRequest) -> CropFrame:
    """The frame that `CropDataset` cuts this draw out with."""
    rng = np.random.default_rng((recipe.train.seed, draw.position))
    box = Box(*people.boxes[draw.sample_index].tolist())
    keypoints_image = people.keypoints_image[draw.sample_index]
    return augment_frame(box, keypoints_image, recipe.model.input_size, recipe.augmentation, recipe.keypoint_table, rng)


def read_whole(people: People, draw: SampleRequest) -> np.ndarray:
    """All pixels of a draw's image, BGR."""
    path = people.images[people.image_index[draw.sample_index]]
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, f"{path} cannot be read"
    return image


def normalize_crop(crop: np.ndarray) -> np.ndarray:
    """(3, H, W) float32 of an 8-bit crop."""
    mean, deviation = (np.array(values, np.float32) for values in (CHANNEL_MEAN, CHANNEL_DEVIATION))
    scaled = (crop.astype(np.float32) / 255 - mean) / deviation
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def draw_label_maps(
    keypoints_crop: np.ndarray, visibility: np.ndarray, size: Size, kernel_sizes: tuple[int, ...]
) -> np.ndarray:
    """(kernels, K, H/4, W/4): for each kernel and labeled keypoint a blurred dot, scaled to a peak of 255."""
    height, width = size.height // HEATMAP_STRIDE, size.width // HEATMAP_STRIDE
    maps = np.zeros((len(kernel_sizes), len(visibility), height, width), np.float32)
    for level, kernel_size in enumerate(kernel_sizes):
        for keypoint in np.flatnonzero(visibility):
            x, y = (keypoints_crop[keypoint] / HEATMAP_STRIDE).astype(int)
            maps[level, keypoint, y, x] = 1
            blurred = cv2.GaussianBlur(maps[level, keypoint], (kernel_size, kernel_size), 0)
            maps[level, keypoint] = blurred / (blurred.max() / 255)
    return maps


HardestLoss = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""From predicted maps and targets (B, K, h, w), visibility (B, K), and how many keypoints count, to their loss."""


def hardest_person_by_person(predicted: Tensor, target: Tensor, visibility: Tensor, num_hard: int) -> Tensor:
    """As the released code and MMPose have it."""
    worst = torch.zeros(())
    for person in range(len(predicted)):
        errors = (RELEASED_PEAK * predicted[person] - target[person]).square().mean((1, 2))
        worst = worst + (errors * (visibility[person] > 0)).topk(num_hard).values.mean()
    return worst / len(predicted)


def hardest_at_once(predicted: Tensor, target: Tensor, visibility: Tensor, num_hard: int) -> Tensor:
    """The same of all people in one step."""
    errors = (RELEASED_PEAK * predicted - target).square().mean((2, 3)) * (visibility > 0)
    return errors.topk(num_hard, dim=1).values.mean()


def released_loss(
    outputs: Sequence[Sequence[Tensor]],
    maps: Tensor,
    visibility: Tensor,
    config: SupervisionConfig,
    hardest: HardestLoss = hardest_person_by_person,
) -> Tensor:
    """The released code's loss (all of its settings but mining are fixed), a stage at a time.

    Args:
        outputs: stages, each a list of levels from fine to coarse, each (B, K, h, w) with peak 1.
        maps: (B, kernels, K, h, w) with peak 255.
        visibility: (B, K).
        config: how many keypoints are hard.
        hardest: loss of the finest level.
    """
    assert config.num_hard_keypoints is not None
    total = torch.zeros(())
    for stage, levels in enumerate(outputs):
        first = len(levels) if stage == len(outputs) - 1 else len(levels) - 1
        for level, predicted in enumerate(levels):
            target = maps[:, first - level]
            if level:
                seen = (visibility > 1)[..., None, None]
                total = total + config.coarse_weight * (RELEASED_PEAK * predicted - target * seen).square().mean()
            else:
                total = total + hardest(predicted, target, visibility, config.num_hard_keypoints)
    return total
