"""How large each person is, as the unit in which the errors of keypoints are measured."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mspn.data.head_boxes import HEAD_BOX
from mspn.data.label_files import AnnotationError
from mspn.data.labels import LabelledPerson, box_around
from mspn.evaluate.percentage_correct import Reference
from mspn.skeleton import Skeleton

TORSO = ("left_shoulder", "right_hip")

_HEAD_FACTOR = 0.6
"""Head boxes are generous: 0.6 times the diagonal is about the length of the head (MPII's own evaluation)."""


def reference_lengths(
    people: Sequence[LabelledPerson], skeleton: Skeleton, reference: Reference
) -> Float[np.ndarray, " N"]:
    """Everyone's reference length in pixels; 0 where the labels do not tell it.

    Raises:
        AnnotationError: if head boxes are asked for and somebody has none.
    """
    if reference == "head":
        return _head_sizes(people)
    if reference == "torso":
        return _torso_lengths(people, skeleton)
    boxes = [person.box or box_around(person.keypoints_image) for person in people]
    return np.array([max(box.width, box.height) if box else 0.0 for box in boxes])


def has_torso(skeleton: Skeleton) -> bool:
    return set(TORSO) <= set(skeleton.keypoints)


def _head_sizes(people: Sequence[LabelledPerson]) -> Float[np.ndarray, " N"]:
    without = [person.id for person in people if HEAD_BOX not in person.extra]
    if without:
        raise AnnotationError(
            f"{len(without)} of {len(people)} people have no head box, which PCKh measures by (first: person"
            f" {without[0]}); HRNet's JSON has none: give --head-boxes gt_valid.mat (HRNet's) or MPII's own .mat"
        )
    corners = np.array([person.extra[HEAD_BOX] for person in people], np.float64).reshape(-1, 2, 2)
    sizes: np.ndarray = _HEAD_FACTOR * np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
    return sizes


def _torso_lengths(people: Sequence[LabelledPerson], skeleton: Skeleton) -> Float[np.ndarray, " N"]:
    ends = [skeleton.keypoints.index(name) for name in TORSO]
    torsos = np.array([person.keypoints_image[ends] for person in people]).reshape(-1, 2, 3)
    is_labelled = (torsos[..., 2] > 0).all(1)
    return np.where(is_labelled, np.linalg.norm(torsos[:, 1, :2] - torsos[:, 0, :2], axis=1), 0.0)
