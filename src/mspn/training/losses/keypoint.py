"""Loss of pose networks: coarse-to-fine supervision with online hard keypoint mining (OHKM)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mspn.config.train import SupervisionConfig
from mspn.datasets.samples import KeypointLabels
from mspn.heatmaps.targets import draw_targets
from mspn.models.base import RELEASED_PEAK
from mspn.structures.boxes import Size
from mspn.structures.crop import crop_to_heatmap


class StageLosses(NamedTuple):
    """The loss and its parts."""

    total: Float[Tensor, ""]
    by_stage_and_level: Float[Tensor, "stages levels"]
    """Weighted and detached; levels from fine to coarse, 0 where a stage has no such level."""


def kernel_size_at(config: SupervisionConfig, *, stage: int, num_stages: int, level: int) -> int:
    """Kernel size in cells of the target Gaussians at a stage and level (0 is the finest of four).

    Stages before the last use the four widest kernels, the last stage the next narrower ones.
    """
    is_finer = config.finer_last_stage and stage == num_stages - 1
    return config.kernel_sizes[3 - level + is_finer]


def compute_losses(
    outputs: Sequence[Sequence[Tensor]], labels: KeypointLabels, config: SupervisionConfig
) -> StageLosses:
    """Loss of all stages and levels against targets drawn on their device.

    Args:
        outputs: stages, each a list of levels from fine to coarse, as many as the stage has, each (B, K, h, w).
        labels: of the same people, on the same device.
        config: kernels, weights and masks.
    """
    size = Size(*outputs[0][0].shape[-2:])
    keypoints_heatmap = crop_to_heatmap(labels.keypoints_crop)
    labeled = labels.visibility > 0
    targets: dict[int, Tensor] = {}
    losses: list[list[Tensor]] = []
    for stage, levels in enumerate(outputs):
        uses_ohkm = config.ohkm == "every_stage" or stage == len(outputs) - 1
        losses.append([])
        for level, predicted in enumerate(levels):
            kernel_size = kernel_size_at(config, stage=stage, num_stages=len(outputs), level=level)
            if kernel_size not in targets:
                targets[kernel_size] = draw_targets(keypoints_heatmap, labeled, size=size, kernel_size=kernel_size)
            target = targets[kernel_size]
            weight = config.coarse_weight if level else 1.0
            loss_at_level = ohkm_loss if uses_ohkm and level == 0 else coarse_loss
            losses[-1].append(weight * loss_at_level(predicted, target, labels, config))
    parts = [torch.stack(levels).detach() for levels in losses]
    total = torch.stack([loss for levels in losses for loss in levels]).sum()
    return StageLosses(total, pad_sequence(parts, batch_first=True))


def coarse_loss(predicted: Tensor, target: Tensor, labels: KeypointLabels, config: SupervisionConfig) -> Tensor:
    """Mean squared error of (B, K, h, w) maps, over the counted keypoints of each person, then over people.

    `labels.counted` is False for keypoints that their data set does not label: they are in no loss.

    With coarse_target "visible", only visible keypoints have targets and the others are trained towards zero, as in the
    released code; with "labeled", unlabeled ones contribute 0 to the mean (MMPose).
    """
    if config.coarse_target == "visible":
        target = target * (labels.visibility == 2)[..., None, None]
        is_target = labels.counted
    else:
        is_target = labels.counted & (labels.visibility > 0)
    errors = _errors_per_keypoint(predicted, target, config) * is_target
    return (errors.sum(1) / labels.counted.sum(1).clamp(min=1)).mean()


def ohkm_loss(predicted: Tensor, target: Tensor, labels: KeypointLabels, config: SupervisionConfig) -> Tensor:
    """Mean squared error of each person's hardest labeled keypoints, then over people.

    Without OHKM (num_hard_keypoints null) it is `coarse_loss`, as in the released code.
    """
    if config.num_hard_keypoints is None:
        return coarse_loss(predicted, target, labels, config)
    labeled = labels.counted & (labels.visibility > 0)
    errors = _errors_per_keypoint(predicted, target, config) * labeled
    num_hard = min(config.num_hard_keypoints, errors.shape[1])
    return errors.topk(num_hard, dim=1).values.mean()


def _errors_per_keypoint(predicted: Tensor, target: Tensor, config: SupervisionConfig) -> Float[Tensor, "B K"]:
    squared = (predicted.float() - target).square()
    if config.foreground_weight:
        squared = squared * (1 + config.foreground_weight * target)
    return squared.mean((2, 3)) * RELEASED_PEAK**2
