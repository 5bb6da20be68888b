"""Pseudo-labels: keypoints of people in photos without labels, where teachers agree on them.

Each teacher sees each person plain and mirrored. A keypoint counts where all these views are close to their mean, in
the distances of COCO's object keypoint similarity, and sure enough. Where they are not, nothing is known: it counts
neither as labeled nor as absent.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import Field

from mspn.labels.label_set import IGNORED, LabeledPerson, area_of
from mspn.predict.teachers import Teacher
from mspn.structures.boxes import Box, Detection, Size, nms, to_xyxy
from mspn.structures.image import Image
from mspn.structures.oks import keypoint_similarity
from mspn.structures.settings import Settings
from mspn.structures.skeleton import Skeleton

MIN_BOX = Size(height=56, width=16)
"""In pixels; smaller people are too blurred to be learned from."""
_MAX_IOU = 0.6
"""Of a box with one of a higher score, which shows the same person."""
_DIGITS = 2


class AgreementRule(Settings):
    """Which keypoints of a person count, and which people."""

    agreement: float = Field(0.5, ge=0, le=1)
    """Lowest similarity (OKS of one keypoint) of any view with the mean of all."""
    min_score: float = Field(0.3, ge=0, le=1)
    """Lowest mean score of a keypoint."""
    min_keypoints: int = Field(6, ge=1)
    """A person with fewer that count is left out."""


class Agreement(NamedTuple):
    """What the views of N people say together."""

    points_image: Float[np.ndarray, "N K 2"]
    """Mean of the views, weighted by their scores."""
    similarity: Float[np.ndarray, "N K"]
    """Of the view that is furthest from the mean, 0 to 1."""
    scores: Float[np.ndarray, "N K"]
    """Mean of the views."""


def select_boxes(detections: Sequence[Detection], threshold: float) -> list[Detection]:
    """Boxes of sufficient score and size that no better box covers."""
    large = [
        detection
        for detection in detections
        if detection.score >= threshold
        and detection.box.width >= MIN_BOX.width
        and detection.box.height >= MIN_BOX.height
    ]
    scores = np.array([detection.score for detection in large])
    corners = to_xyxy([detection.box for detection in large])
    return [large[index] for index in sorted(nms(corners, scores, np.zeros(len(large), int), _MAX_IOU))]


def compare_views(image: Image, boxes: Sequence[Box], teachers: Sequence[Teacher]) -> Agreement:
    """Ask each teacher for the people in an image and in its mirror image.

    Raises:
        ValueError: if a box cannot be cut out of the image.
    """
    skeleton, width = teachers[0].skeleton, image.size.width
    mirror = replace(image, pixels=np.ascontiguousarray(image.pixels[:, ::-1]))
    mirrored_boxes = [box._replace(left=width - 1 - box.left - box.width) for box in boxes]
    views = []
    for teacher in teachers:
        mirrored = teacher.estimate(mirror, mirrored_boxes)[:, skeleton.mirror_order]
        mirrored[..., 0] = width - 1 - mirrored[..., 0]
        views += [teacher.estimate(image, boxes), mirrored]
    poses = np.array(views)
    weights = np.maximum(poses[..., 2:], 1e-6)
    mean = (poses[..., :2] * weights).sum(0) / weights.sum(0)
    distances = np.linalg.norm(poses[..., :2] - mean, axis=-1)
    areas = np.array([area_of(_person(box, skeleton)) for box in boxes])
    similarity = keypoint_similarity(distances, areas[:, None], np.array(skeleton.sigmas))
    return Agreement(mean, similarity.min(0), poses[..., 2].mean(0))


def label_people(
    image: Image, detections: Sequence[Detection], teachers: Sequence[Teacher], rule: AgreementRule
) -> list[LabeledPerson]:
    """The people of an image on enough of whose keypoints the teachers agree; ids are still 0.

    Args:
        image: a photo.
        detections: of people, see `select_boxes`.
        teachers: of one skeleton, see `common_skeleton`.
        rule: what counts.

    Raises:
        ValueError: if a box cannot be cut out of the image.
    """
    if not detections:
        return []
    agreement = compare_views(image, [detection.box for detection in detections], teachers)
    limits = (image.size.width - 1, image.size.height - 1)
    is_inside = ((agreement.points_image >= 0) & (agreement.points_image <= limits)).all(-1)
    counts = (agreement.similarity >= rule.agreement) & (agreement.scores >= rule.min_score) & is_inside
    skeleton = teachers[0].skeleton
    people = []
    for row, detection in enumerate(detections):
        if counts[row].sum() < rule.min_keypoints:
            continue
        keypoints = np.column_stack([agreement.points_image[row].round(_DIGITS), np.full(len(counts[row]), 2.0)])
        keypoints[~counts[row]] = 0
        ignored = [name for name, does_count in zip(skeleton.keypoints, counts[row], strict=True) if not does_count]
        extra = {"keypoint_scores": agreement.scores[row].round(_DIGITS).tolist(), "box_score": detection.score}
        people.append(
            replace(
                _person(detection.box, skeleton),
                keypoints_image=keypoints,
                extra=extra | ({IGNORED: ignored} if ignored else {}),
            )
        )
    return people


def _person(box: Box, skeleton: Skeleton) -> LabeledPerson:
    return LabeledPerson(0, 0, np.zeros((len(skeleton.keypoints), 3)), box)
