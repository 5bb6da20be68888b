"""Pre-labels of photos: what a network says of them, and of which it is least sure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mspn.config.recipe import Recipe
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet
from mspn.structures.boxes import Size
from mspn.structures.pose import Pose

_DIGITS = 2


class Suggestion(NamedTuple):
    """What a network says of a photo."""

    file_name: str
    size: Size
    poses: Sequence[Pose]

    @property
    def certainty(self) -> float:
        """Mean keypoint score of the person of whom the network is least sure, 0 to 1; 1 where it finds nobody.

        Peaks of maps averaged with those of the mirrored crop are lower where the two differ, too.
        """
        return min((float(pose.keypoint_scores.mean()) for pose in self.poses), default=1.0)


def rank_suggestions(suggestions: Sequence[Suggestion], count: int) -> list[Suggestion]:
    """The `count` photos of which a network is least sure, these first; photos where it finds nobody come last."""
    return sorted(suggestions, key=lambda suggestion: (not suggestion.poses, suggestion.certainty))[:count]


def as_labels(suggestions: Sequence[Suggestion], recipe: Recipe) -> LabeledSet:
    """Suggestions of a recipe's network as labels, in their order; images and people are numbered from 1 on.

    Keypoints outside the image are unlabeled. A network that sees whole images gives no boxes.
    """
    has_boxes = recipe.data.boxes == "labeled"
    images: list[LabeledImage] = []
    people: list[LabeledPerson] = []
    for suggestion in suggestions:
        images.append(LabeledImage(len(images) + 1, suggestion.file_name, suggestion.size))
        for pose in suggestion.poses:
            keypoints = _labeled_inside(pose, suggestion.size)
            people.append(LabeledPerson(len(people) + 1, len(images), keypoints, pose.box if has_boxes else None))
    skeleton = recipe.keypoint_table
    return LabeledSet(skeleton, images, people, category=skeleton.category)


def _labeled_inside(pose: Pose, size: Size) -> Float[np.ndarray, "K 3"]:
    """(x, y, visibility): 2 within the image, else all 0."""
    points = pose.keypoints_image.round(_DIGITS)
    is_inside = ((points >= 0) & (points <= (size.width - 1, size.height - 1))).all(axis=1, keepdims=True)
    return np.where(is_inside, np.column_stack([points, np.full(len(points), 2.0)]), 0)
