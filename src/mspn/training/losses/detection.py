"""Loss of person detectors: task-aligned assignment of cells, quality focal loss for scores, GIoU loss for boxes."""

from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mspn.datasets.samples import IGNORE, PERSON, SceneLabels
from mspn.models.person_detector import Candidates
from mspn.structures.boxes import giou, iou

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


def detection_losses(candidates: Candidates, labels: SceneLabels) -> DetectionLosses:
    """Loss of a batch, averaged over the people in it.

    The target of a score is the IoU that the best cell reaches, scaled by alignment; boxes are trained on 1 - GIoU.

    Source: Feng et al., "TOOD" (task-aligned assignment); Li et al., "Generalized Focal Loss".
    """
    targets = _assign(candidates, labels)
    total_score = targets.scores.sum().clamp(min=1.0)
    focal_weight = (torch.sigmoid(candidates.logits) - targets.scores).abs().square()
    cross_entropy = functional.binary_cross_entropy_with_logits(candidates.logits, targets.scores, reduction="none")
    score_loss = focal_weight * cross_entropy * targets.counted
    giou_loss = 1 - giou(candidates.boxes, targets.boxes)
    losses = (score_loss + _BOX_WEIGHT * giou_loss * targets.scores).sum(0) / total_score
    ends = list(accumulate(candidates.num_cells))
    by_level = [part.sum() for part in torch.tensor_split(losses.detach(), ends[:-1])]
    return DetectionLosses(losses.sum(), torch.stack(by_level)[None])


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
