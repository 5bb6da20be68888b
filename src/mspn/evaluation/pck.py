"""Percentage of correct keypoints (PCK, PCKh), and its reference lengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mspn.errors import AnnotationError
from mspn.labels.formats.mpii import head_box_of
from mspn.labels.label_set import LabeledPerson, box_around
from mspn.structures.shapes import Bool, Float
from mspn.structures.skeleton import Skeleton

ReferenceLength = Literal["head", "torso", "box"]
"""head: 0.6 times the diagonal of the head box; torso: left shoulder to right hip; box: the box's longer side."""

UNDEFINED_SHARE = -1.0
"""Share of keypoints that are not labeled in any person, as in COCO's ten numbers."""

_STEPS_PER_LENGTH = 100
"""Thresholds of the area under the curve, per reference length."""

_PAIRS = {
    name: (f"left_{name.lower()}", f"right_{name.lower()}")
    for name in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
}


@dataclass(frozen=True)
class PckDefinition:
    """Thresholds below which a keypoint is correct, and the columns of the table."""

    name: str
    reference: ReferenceLength
    threshold: float
    """Of the table, in reference lengths; the area under the curve ends there."""
    strict_threshold: float
    head: tuple[str, ...]
    """Keypoints averaged in the table's column "Head"."""
    not_in_mean: tuple[str, ...] = ()


PCKH = PckDefinition("PCKh", "head", 0.5, 0.1, head=("head_top",), not_in_mean=("pelvis", "thorax"))
"""MPII's, as HRNet and the released code compute it (Andriluka et al. 2014)."""
PCK_TORSO = PckDefinition("PCK", "torso", 0.2, 0.1, head=("head_top", "neck"))
"""LSP's, of Sapp and Taskar (2013) and of the tools of LSP's benchmark."""
PCK_BOX = PckDefinition("PCK", "box", 0.2, 0.1, head=("head_top", "neck"))
"""Yang and Ramanan's (2013), for sets without a torso; they take the box around the labeled keypoints."""


@dataclass(frozen=True)
class PckResult:
    """Shares of correct keypoints, 0 to 1; -1 where nothing is labeled."""

    stats: Mapping[str, float]
    """Over all keypoints: at both thresholds, and the area under the curve."""
    table: Mapping[str, float]
    """By part of the body at the threshold, left and right averaged, and their mean weighted by labeled keypoints."""
    by_keypoint: Mapping[str, float]
    """At the threshold."""


def compute_pck(
    errors_px: Float[np.ndarray, "N K"],
    lengths_px: Float[np.ndarray, " N"],
    labeled: Bool[np.ndarray, "N K"],
    skeleton: Skeleton,
    definition: PckDefinition,
) -> PckResult:
    """Compute the share of keypoints whose error is at most a fraction of the reference length.

    Args:
        errors_px: distance of predicted keypoints from their labels, infinite where there is no prediction.
        lengths_px: reference length of each person, above 0.
        labeled: the keypoints that count.
        skeleton: of the K keypoints.
        definition: thresholds, and the keypoints that the mean leaves out.

    An error equal to the threshold is correct. The area under the curve is that of the share of all keypoints
    over thresholds from 0 on, by the trapezoidal rule, divided by the last threshold.

    Source: HRNet's and the released code's evaluation of MPII; the tools of LSP's benchmark. The value that they print
    for 0.1 on MPII is that at 0.11, see docs/evaluation.md.
    """
    relative = np.where(labeled, errors_px / lengths_px[:, None], np.inf)
    in_mean = np.array([name not in definition.not_in_mean for name in skeleton.keypoints])
    counts = labeled.sum(0)
    num_correct = (relative <= definition.threshold).sum(0)
    by_keypoint = {
        name: _share(number, count) for name, number, count in zip(skeleton.keypoints, num_correct, counts, strict=True)
    }
    total = counts[in_mean].sum()

    def share_of_all(threshold: float) -> float:
        return _share((relative[:, in_mean] <= threshold).sum(), total)

    overall = share_of_all(definition.threshold)
    steps = range(round(definition.threshold * _STEPS_PER_LENGTH) + 1)
    curve = np.array([share_of_all(step / _STEPS_PER_LENGTH) for step in steps])
    return PckResult(
        stats={
            f"{definition.name}@{definition.threshold:g}": overall,
            f"{definition.name}@{definition.strict_threshold:g}": share_of_all(definition.strict_threshold),
            "AUC": float((curve[1:] + curve[:-1]).mean() / 2),
        },
        table={
            **{part: _average(names, by_keypoint) for part, names in _parts(skeleton, definition).items()},
            "Mean": overall,
        },
        by_keypoint=by_keypoint,
    )


def _share(num_correct: int, count: int) -> float:
    return float(num_correct / count) if count else UNDEFINED_SHARE


def _average(names: tuple[str, ...], by_keypoint: Mapping[str, float]) -> float:
    """Mean over keypoints, not weighted by how often each is labeled, as in HRNet's table."""
    shares = [by_keypoint[name] for name in names if by_keypoint[name] != UNDEFINED_SHARE]
    return sum(shares) / len(shares) if shares else UNDEFINED_SHARE


def _parts(skeleton: Skeleton, definition: PckDefinition) -> dict[str, tuple[str, ...]]:
    """The table's columns and the skeleton's keypoints in each; columns without any are left out."""
    parts = {"Head": definition.head, **_PAIRS}
    present = {part: tuple(name for name in names if name in skeleton.keypoints) for part, names in parts.items()}
    return {part: names for part, names in present.items() if names}


TORSO = ("left_shoulder", "right_hip")

_HEAD_FACTOR = 0.6
"""Head boxes are larger than heads: 0.6 times the diagonal is about the length of the head (MPII's own evaluation)."""


def reference_lengths(
    people: Sequence[LabeledPerson], skeleton: Skeleton, reference: ReferenceLength
) -> Float[np.ndarray, " N"]:
    """Reference length of each person in pixels; 0 where the labels lack the keypoints or box for it.

    Raises:
        AnnotationError: if the reference is the head and a person has no head box.
    """
    if reference == "head":
        return _head_sizes(people)
    if reference == "torso":
        return _torso_lengths(people, skeleton)
    boxes = [person.box or box_around(person.keypoints_image) for person in people]
    return np.array([max(box.width, box.height) if box else 0.0 for box in boxes])


def has_torso(skeleton: Skeleton) -> bool:
    return set(TORSO) <= set(skeleton.keypoints)


def _head_sizes(people: Sequence[LabeledPerson]) -> Float[np.ndarray, " N"]:
    heads = [head_box_of(person) for person in people]
    without = [person.id for person, head in zip(people, heads, strict=True) if head is None]
    if without:
        raise AnnotationError(
            f"{len(without)} of {len(people)} people have no head box, which PCKh needs (first: person"
            f" {without[0]}); HRNet's JSON has none: give --head-boxes gt_valid.mat (HRNet's) or MPII's own .mat"
        )
    corners = np.array(heads, np.float64).reshape(-1, 2, 2)
    sizes: np.ndarray = _HEAD_FACTOR * np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
    return sizes


def _torso_lengths(people: Sequence[LabeledPerson], skeleton: Skeleton) -> Float[np.ndarray, " N"]:
    ends = [skeleton.keypoints.index(name) for name in TORSO]
    torsos = np.array([person.keypoints_image[ends] for person in people]).reshape(-1, 2, 3)
    is_labeled = (torsos[..., 2] > 0).all(1)
    return np.where(is_labeled, np.linalg.norm(torsos[:, 1, :2] - torsos[:, 0, :2], axis=1), 0.0)
