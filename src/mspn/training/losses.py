"""Losses, of pose networks and of person detectors.

That of pose networks is coarse-to-fine supervision with online hard keypoint mining (OHKM), and, where asked for,
expected OKS. That of person detectors has task-aligned assignment of cells, quality focal loss for scores, GIoU loss
for boxes.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from mspn.config.train import SupervisionConfig
from mspn.datasets.samples import IGNORE, PERSON, KeypointLabels, SceneLabels
from mspn.heatmaps.decode import oks_deviations
from mspn.heatmaps.targets import draw_targets
from mspn.models.base import RELEASED_PEAK
from mspn.models.person_detector import Candidates
from mspn.structures.boxes import Size, giou, iou
from mspn.structures.crop import crop_to_heatmap
from mspn.structures.shapes import Bool, Float


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
    outputs: Sequence[Sequence[Tensor]], labels: KeypointLabels, config: SupervisionConfig, sigmas: Sequence[float]
) -> StageLosses:
    """Loss of all stages and levels against targets drawn on their device.

    Args:
        outputs: stages, each a list of levels from fine to coarse, as many as the stage has, each (B, K, h, w).
        labels: of the same people, on the same device.
        config: kernels, weights and masks.
        sigmas: of the K keypoints, as COCO has them; `config.oks_weight` above 0 alone asks for them.
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
        if config.oks_weight:
            counted = labels.counted & labeled
            losses[-1][0] = losses[-1][0] + config.oks_weight * oks_loss(levels[0], keypoints_heatmap, counted, sigmas)
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


_SMALLEST_SUM = 1e-6
_MIN_OKS = 0.03
"""Added to what is expected: labels that are far from everything that the map shows, which many wrong ones are, count
only so much."""


def oks_loss(
    predicted: Float[Tensor, "B K h w"],
    keypoints_heatmap: Float[Tensor, "B K 2"],
    counted: Bool[Tensor, "B K"],
    sigmas: Sequence[float],
) -> Float[Tensor, ""]:
    """Minus the logarithm of the OKS expected at the label: of the counted keypoints that lie in the map, 0 of others.

    As in `mspn.heatmaps.decode.expected_oks`, the squared map is taken as the probability of where the keypoint is.
    The mean is over all keypoints, so that parts of a batch weigh the same, however many of theirs are labeled.

    Args:
        predicted: peak 1.
        keypoints_heatmap: (x, y) in heat-map coordinates.
        counted: False for keypoints that are in no loss.
        sigmas: of the K keypoints.
    """
    height, width = predicted.shape[-2:]
    end = torch.tensor([width, height], device=predicted.device) - 0.5
    counted = counted & ((keypoints_heatmap >= -0.5) & (keypoints_heatmap < end)).all(-1)
    points = torch.where(counted.unsqueeze(-1), keypoints_heatmap, 0.0)  # others may be NaN
    deviations = oks_deviations(sigmas, height, width).to(predicted.device)
    by_column, by_row = (
        torch.exp(
            -(((torch.arange(length, device=points.device) - points[..., axis, None]) / deviations[:, None]) ** 2) / 2
        )
        for axis, length in enumerate((width, height))
    )
    squared = predicted.float().clamp(min=0).square()
    similar = ((squared @ by_column.unsqueeze(-1)).squeeze(-1) * by_row).sum(-1)
    expected = similar / squared.sum((-2, -1)).clamp(min=_SMALLEST_SUM)
    return -((expected + _MIN_OKS).log() * counted).mean()


def _errors_per_keypoint(predicted: Tensor, target: Tensor, config: SupervisionConfig) -> Float[Tensor, "B K"]:
    squared = (predicted.float() - target).square()
    if config.foreground_weight:
        squared = squared * (1 + config.foreground_weight * target)
    return squared.mean((2, 3)) * RELEASED_PEAK**2


_MAX_CELLS = 10
"""Cells assigned to a person (Feng et al. take 13)."""
_SCORE_POWER, _IOU_POWER = 0.5, 6.0
"""Exponents of the alignment (YOLOv8's; Feng et al. have 1 and 6)."""
_MIN_IGNORE_IOU = 0.3
"""Candidates that overlap an ignored box by this IoU do not count as background."""
_BOX_WEIGHT = 2.0
"""Weight of the box loss (Li et al., Generalized Focal Loss)."""


class DetectionLosses(NamedTuple):
    """The loss and its parts, as a pose network's `StageLosses`."""

    total: Float[Tensor, ""]
    by_stage_and_level: Float[Tensor, "1 levels"]


class _Targets(NamedTuple):
    """Targets of each candidate."""

    scores: Float[Tensor, "B N"]
    """0 for background."""
    boxes: Float[Tensor, "B N 4"]
    """Of the person it is assigned to; meaningless where the score is 0."""
    counted: Float[Tensor, "B N"]
    """Weight of the score loss: 0 on ignored boxes, else 1."""


def detection_losses(candidates: Candidates, labels: SceneLabels, label_weight: float = 1.0) -> DetectionLosses:
    """Loss of a batch, averaged over the people in it.

    The target of a score is the IoU that the best cell reaches, scaled by alignment; boxes are trained on 1 - GIoU.
    Where a teacher scored the cells, its scores and boxes are further targets.

    Args:
        candidates: of the network.
        labels: of the same scenes.
        label_weight: of the people's loss; the teacher's has weight 1.

    Source: Feng et al., "TOOD" (task-aligned assignment); Li et al., "Generalized Focal Loss".
    """
    losses = label_weight * _losses_by_candidate(candidates, _assign(candidates, labels))
    if labels.teacher_scores.shape[-1]:
        counted = torch.ones_like(labels.teacher_scores)
        losses = losses + _losses_by_candidate(
            candidates, _Targets(labels.teacher_scores, labels.teacher_boxes, counted)
        )
    ends = list(accumulate(candidates.num_cells))
    by_level = [part.sum() for part in torch.tensor_split(losses.detach(), ends[:-1])]
    return DetectionLosses(losses.sum(), torch.stack(by_level)[None])


def _losses_by_candidate(candidates: Candidates, targets: _Targets) -> Float[Tensor, " N"]:
    """Summed over the batch, in shares of all that there is to find."""
    total_score = targets.scores.sum().clamp(min=1.0)
    focal_weight = (torch.sigmoid(candidates.logits) - targets.scores).abs().square()
    cross_entropy = functional.binary_cross_entropy_with_logits(candidates.logits, targets.scores, reduction="none")
    score_loss = focal_weight * cross_entropy * targets.counted
    giou_loss = 1 - giou(candidates.boxes, targets.boxes)
    return (score_loss + _BOX_WEIGHT * giou_loss * targets.scores).sum(0) / total_score


@torch.no_grad()
def _assign(candidates: Candidates, labels: SceneLabels) -> _Targets:
    """Assign to each person the best-aligned cells inside the person's box.

    A cell's alignment is its score to the power of 0.5 times its IoU to the power of 6. A cell that is chosen for two
    people is assigned to the one of higher IoU.
    """
    ious = iou(labels.boxes[:, :, None], candidates.boxes[:, None])  # B M N
    is_person, is_ignored = labels.kinds == PERSON, labels.kinds == IGNORE
    margins = torch.cat(
        [candidates.centers - labels.boxes[:, :, None, :2], labels.boxes[:, :, None, 2:] - candidates.centers], -1
    )
    is_inside = (margins.amin(-1) > 0) & is_person[..., None]
    alignment = torch.sigmoid(candidates.logits)[:, None] ** _SCORE_POWER * ious**_IOU_POWER * is_inside
    best = alignment.topk(min(_MAX_CELLS, alignment.shape[-1]), -1)
    chosen = torch.zeros_like(alignment).scatter_(-1, best.indices, (best.values > 0).to(alignment.dtype))
    owner = (ious * chosen).argmax(1, keepdim=True)  # B 1 N
    chosen = chosen * torch.zeros_like(chosen).scatter_(1, owner, 1.0)
    alignment = alignment * chosen
    # The target score of a person's best-aligned cell is the person's highest IoU; the others' are in proportion.
    max_alignment = alignment.amax(-1, keepdim=True).clamp(min=1e-12)
    max_iou = (ious * chosen).amax(-1, keepdim=True)
    scores = (alignment / max_alignment * max_iou).amax(1)
    boxes = labels.boxes.gather(1, owner[:, 0, :, None].expand(-1, -1, 4))
    is_on_ignored = (ious * is_ignored[..., None]).amax(1) >= _MIN_IGNORE_IOU
    return _Targets(scores, boxes, ((scores > 0) | ~is_on_ignored).to(scores.dtype))
