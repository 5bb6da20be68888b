import math
from collections.abc import Sequence

import pytest
import torch

from mspn.datasets.samples import IGNORE, PADDING, PERSON, SceneLabels
from mspn.models.person_detector import Candidates
from mspn.training.losses import detection_losses

FAR_FROM_ZERO = 20.0
"""A logit whose score is 0 or 1 to float precision."""


def candidates(
    *cells: tuple[float, list[float], tuple[float, float]], num_cells: list[int] | None = None
) -> Candidates:
    """One image's: (logit, box, center) of each cell."""
    logits, boxes, centers = zip(*cells, strict=True)
    return Candidates(
        torch.tensor([logits], requires_grad=True),
        torch.tensor([boxes], requires_grad=True),
        torch.tensor(centers),
        num_cells or [len(cells)],
    )


def labels(*boxes: tuple[list[float], int], teacher: Sequence[tuple[float, list[float]]] = ()) -> SceneLabels:
    """Of one image; the teacher's are (score, box) of each cell."""
    corners, kinds = zip(*boxes, strict=True)
    scores, teacher_boxes = zip(*teacher, strict=True) if teacher else ((), ())
    return SceneLabels(
        torch.tensor([corners]), torch.tensor([kinds]), torch.tensor([scores]), torch.tensor([teacher_boxes])
    )


PERSON_BOX = [0.0, 0.0, 10.0, 20.0]
INSIDE, OUTSIDE = (5.0, 10.0), (30.0, 10.0)


def test_a_sure_and_exact_cell_has_no_loss():
    found = candidates((FAR_FROM_ZERO, PERSON_BOX, INSIDE), (-FAR_FROM_ZERO, [28.0, 8.0, 32.0, 12.0], OUTSIDE))

    losses = detection_losses(found, labels((PERSON_BOX, PERSON)))

    assert losses.total.item() == pytest.approx(0, abs=1e-6)


def test_the_score_learns_the_overlap_and_the_box_the_generalized_overlap():
    half = [0.0, 0.0, 10.0, 10.0]  # IoU 0.5; nothing but the two boxes is within the box around both
    found = candidates((0.0, half, INSIDE))

    losses = detection_losses(found, labels((PERSON_BOX, PERSON)))

    # The target is 0.5, which the score is already; the box lacks 0.5, weighs 2, and counts 0.5 for a weight of 1.
    assert losses.total.item() == pytest.approx(2 * 0.5 * 0.5)


def test_background_learns_a_score_of_zero_with_the_focal_weight():
    found = candidates((0.0, [28.0, 8.0, 32.0, 12.0], OUTSIDE))

    losses = detection_losses(found, labels((PERSON_BOX, PADDING)))

    # Score 0.5: weight 0.5 squared, cross-entropy -log(1 - 0.5); nobody to share it, so divided by 1.
    assert losses.total.item() == pytest.approx(0.25 * math.log(2))


def test_a_cell_that_covers_a_doubtful_box_does_not_count():
    covering = candidates((0.0, [0.0, 0.0, 10.0, 8.0], INSIDE))  # IoU 0.4
    beside = candidates((0.0, [0.0, 0.0, 10.0, 5.0], INSIDE))  # IoU 0.25

    assert detection_losses(covering, labels((PERSON_BOX, IGNORE))).total.item() == 0
    assert detection_losses(beside, labels((PERSON_BOX, IGNORE))).total.item() > 0


def test_a_cell_whose_center_is_outside_never_answers():
    found = candidates((FAR_FROM_ZERO, PERSON_BOX, OUTSIDE))

    losses = detection_losses(found, labels((PERSON_BOX, PERSON)))

    # Its exact box is background: score 1 where 0 is right, cross-entropy 20.
    assert losses.total.item() == pytest.approx(FAR_FROM_ZERO, rel=1e-4)


def test_a_cell_that_two_people_claim_answers_for_the_one_that_it_covers_better():
    other = [0.0, 0.0, 10.0, 16.0]
    found = candidates((FAR_FROM_ZERO, other, INSIDE))

    losses = detection_losses(found, labels((PERSON_BOX, PERSON), (other, PERSON)))

    assert losses.total.item() == pytest.approx(0, abs=1e-6)


def test_no_more_than_ten_cells_answer_for_a_person():
    twelve = [(FAR_FROM_ZERO, PERSON_BOX, (4.0 + 0.1 * cell, 10.0)) for cell in range(12)]

    losses = detection_losses(candidates(*twelve), labels((PERSON_BOX, PERSON)))

    # The two that are left over say 1 where 0 is right; the ten share the weight.
    assert losses.total.item() == pytest.approx(2 * FAR_FROM_ZERO / 10, rel=1e-4)


def test_losses_are_told_by_level():
    found = candidates(
        (FAR_FROM_ZERO, PERSON_BOX, INSIDE),
        (0.0, [28.0, 8.0, 32.0, 12.0], OUTSIDE),
        (0.0, [28.0, 8.0, 33.0, 12.0], OUTSIDE),
        num_cells=[1, 2],
    )

    losses = detection_losses(found, labels((PERSON_BOX, PERSON)))

    one_of_background = 0.25 * math.log(2)
    assert losses.by_stage_and_level.tolist() == [pytest.approx([0, 2 * one_of_background], abs=1e-6)]


def test_learning_moves_a_box_towards_its_person():
    found = candidates((0.0, [2.0, 2.0, 8.0, 16.0], INSIDE))

    detection_losses(found, labels((PERSON_BOX, PERSON))).total.backward()

    left, top, right, bottom = found.boxes.grad[0, 0].tolist()
    assert left > 0
    assert top > 0
    assert right < 0
    assert bottom < 0


def test_a_teacher_adds_its_score_and_box_of_each_cell_to_what_labels_say():
    half = [0.0, 0.0, 10.0, 10.0]
    found = candidates((0.0, half, INSIDE), (0.0, [28.0, 8.0, 32.0, 12.0], OUTSIDE))
    taught = labels((PERSON_BOX, PADDING), teacher=[(0.5, PERSON_BOX), (0.0, [0.0, 0.0, 0.0, 0.0])])

    losses = detection_losses(found, taught, label_weight=0.1)

    one_of_background = 0.25 * math.log(2)
    # Labels say that both are background, the teacher that one is. Of the other it says 0.5, which the score is
    # already; its box lacks half, weighs 2, and counts 0.5 for a weight of 1.
    assert losses.total.item() == pytest.approx(0.1 * 2 * one_of_background + one_of_background + 2 * 0.5 * 0.5)
