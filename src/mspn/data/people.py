"""Labelled people of one or several data sets, as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, eq=False)
class People:
    """N labelled people; K keypoints of one skeleton."""

    pictures: list[Path]
    picture_index: Int[np.ndarray, " N"]
    """Which picture shows the person."""
    image_ids: Int[np.ndarray, " N"]
    annotation_ids: Int[np.ndarray, " N"]
    boxes: Float[np.ndarray, "N 4"]
    """Left, top, width, height in image pixels."""
    keypoints_image: Float[np.ndarray, "N K 3"]
    """(x, y) in image pixels, and visibility: 0 unlabelled, 1 occluded, 2 visible."""
    counted: Bool[np.ndarray, "N K"]
    """False where the data set says nothing about a keypoint."""

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, chosen: Int[np.ndarray, " M"] | Bool[np.ndarray, " N"]) -> "People":
        """Only the people at these positions."""
        return replace(
            self,
            picture_index=self.picture_index[chosen],
            image_ids=self.image_ids[chosen],
            annotation_ids=self.annotation_ids[chosen],
            boxes=self.boxes[chosen],
            keypoints_image=self.keypoints_image[chosen],
            counted=self.counted[chosen],
        )


def merge(sets: Sequence[People]) -> People:
    """Several sets one after another."""
    offsets = np.cumsum([0] + [len(people.pictures) for people in sets[:-1]])
    return People(
        pictures=[picture for people in sets for picture in people.pictures],
        picture_index=np.concatenate(
            [people.picture_index + offset for people, offset in zip(sets, offsets, strict=True)]
        ),
        image_ids=np.concatenate([people.image_ids for people in sets]),
        annotation_ids=np.concatenate([people.annotation_ids for people in sets]),
        boxes=np.concatenate([people.boxes for people in sets]),
        keypoints_image=np.concatenate([people.keypoints_image for people in sets]),
        counted=np.concatenate([people.counted for people in sets]),
    )
