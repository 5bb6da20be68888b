"""Loss of person detectors: which cells learn whom, scores by quality focal loss, boxes by GIoU."""

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
"""Cells that answer for a person (Feng et al. take 13)."""
_SCORE_POWER, _OVERLAP_POWER = 0.5, 6.0
"""Of the alignment (YOLOv8's; Feng et al. have 1 and 6)."""
_MIN_IGNORE_IOU = 0.3
"""Candidates that cover a doubtful box as well as this do not count as background."""
_BOX_WEIGHT = 2.0
"""Of the box loss (Li et al., Generalized Focal Loss)."""


class DetectionLosses(NamedTuple):
    """The loss and its parts, as a pose network's `StageLosses`."""

    total: Float[Tensor, ""]
    by_stage_and_level: Float[Tensor, "1 levels"]


class _Duties(NamedTuple):
    """What each candidate is to learn."""

    scores: Float[Tensor, "B N"]
    """0 for background."""
    boxes: Float[Tensor, "B N 4"]
    """Of the person it answers for; of no meaning where the score is 0."""
    counted: Float[Tensor, "B N"]
    """0 where nobody knows what it should say, else 1."""


def detection_losses(candidates: Candidates, labels: SceneLabels) -> DetectionLosses:
    """Loss of a batch, averaged over the people in it.

    Scores learn the overlap that the best cells reach (quality focal loss), boxes the generalized overlap.

    Source: Feng et al., "TOOD" (task-aligned assignment); Li et al., "Generalized Focal Loss".
    """
    duties = _assign(candidates, labels)
    weight = duties.scores.sum().clamp(min=1.0)
    surprise = (torch.sigmoid(candidates.logits) - duties.scores).abs().square()
    entropy = functional.binary_cross_entropy_with_logits(candidates.logits, duties.scores, reduction="none")
    score_loss = surprise * entropy * duties.counted
    missed = 1 - giou(candidates.boxes, duties.boxes)
    losses = (score_loss + _BOX_WEIGHT * missed * duties.scores).sum(0) / weight
    ends = list(accumulate(candidates.num_cells))
    by_level = [part.sum() for part in torch.tensor_split(losses.detach(), ends[:-1])]
    return DetectionLosses(losses.sum(), torch.stack(by_level)[None])


@torch.no_grad()
def _assign(candidates: Candidates, labels: SceneLabels) -> _Duties:
    """The cells inside each person's box that already do best answer for the person.

    How well a cell does is its score to the power of 0.5 times its overlap to the power of 6. A cell that two people
    claim answers for the one that its box covers better.
    """
    shared = iou(labels.boxes[:, :, None], candidates.boxes[:, None])  # B M N
    is_person, is_ignored = labels.kinds == PERSON, labels.kinds == IGNORE
    reaches = torch.cat(
        [candidates.centers - labels.boxes[:, :, None, :2], labels.boxes[:, :, None, 2:] - candidates.centers], -1
    )
    may_answer = (reaches.amin(-1) > 0) & is_person[..., None]
    alignment = torch.sigmoid(candidates.logits)[:, None] ** _SCORE_POWER * shared**_OVERLAP_POWER * may_answer
    best = alignment.topk(min(_MAX_CELLS, alignment.shape[-1]), -1)
    chosen = torch.zeros_like(alignment).scatter_(-1, best.indices, (best.values > 0).to(alignment.dtype))
    owner = (shared * chosen).argmax(1, keepdim=True)  # B 1 N
    chosen = chosen * torch.zeros_like(chosen).scatter_(1, owner, 1.0)
    alignment = alignment * chosen
    # The best cell of a person learns the best overlap there is, the others in proportion.
    most_aligned = alignment.amax(-1, keepdim=True).clamp(min=1e-12)
    most_shared = (shared * chosen).amax(-1, keepdim=True)
    scores = (alignment / most_aligned * most_shared).amax(1)
    boxes = labels.boxes.gather(1, owner[:, 0, :, None].expand(-1, -1, 4))
    covers_doubtful = (shared * is_ignored[..., None]).amax(1) >= _MIN_IGNORE_IOU
    return _Duties(scores, boxes, ((scores > 0) | ~covers_doubtful).to(scores.dtype))
