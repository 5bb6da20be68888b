"""The people of a labeled set as flat arrays, so that a rule looks at all of them at once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mspn.labels.checks.findings import Finding
from mspn.labels.label_set import LabeledImage, LabeledSet
from mspn.structures.boxes import Size

_MAX_NAMES = 3


@dataclass(frozen=True, eq=False)
class LabelTable:
    """N people of a set, K keypoints; NaN stands for what is not there or no number, no comparison with it is true."""

    labels: LabeledSet
    images: Mapping[int, LabeledImage]
    """By id."""
    points: Float[np.ndarray, "N K 2"]
    """(x, y) of the labeled keypoints in image pixels."""
    visibility: Float[np.ndarray, "N K"]
    boxes: Float[np.ndarray, "N 4"]
    """Left, top, width, height; NaN where the box is empty, too."""
    areas: Float[np.ndarray, " N"]
    sizes: Float[np.ndarray, "N 2"]
    """Width and height of the person's image."""
    low: Float[np.ndarray, "N 2"]
    """Top-left corner of a person's keypoints."""
    high: Float[np.ndarray, "N 2"]
    """Bottom-right corner of a person's keypoints."""
    extents: Float[np.ndarray, " N"]
    """How large a person is: the longer side of the box, or of the keypoints where there is no box."""

    @property
    def is_labeled(self) -> Bool[np.ndarray, "N K"]:
        """Where there is a keypoint at a finite position."""
        is_labeled: np.ndarray = np.isfinite(self.points[..., 0])
        return is_labeled

    def point(self, name: str) -> Float[np.ndarray, "N 2"]:
        """Everybody's keypoint of this name; all NaN where the skeleton has none."""
        if name not in self.labels.skeleton.keypoints:
            return np.full((len(self.points), 2), np.nan)
        return self.points[:, self.labels.skeleton.keypoints.index(name)]

    def name_keypoints(self, chosen: Bool[np.ndarray, " K"]) -> str:
        """Names of keypoints, the first few of them."""
        names = [name for name, is_chosen in zip(self.labels.skeleton.keypoints, chosen, strict=True) if is_chosen]
        more = len(names) - _MAX_NAMES
        return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")

    def find(self, kind: str, chosen: Bool[np.ndarray, " N"], describe: Callable[[int], str]) -> Iterator[Finding]:
        """A finding for each chosen person; `describe` says of the person at an index what is wrong."""
        for index in np.flatnonzero(chosen).tolist():
            person = self.labels.people[index]
            image = self.images.get(person.image_id)
            name = None if image is None else image.file_name
            yield Finding(kind, describe(index), name, person.image_id, person.id)


def make_table(labels: LabeledSet, true_sizes: Mapping[int, Size]) -> LabelTable:
    """Flatten a set.

    Args:
        labels: as they were read.
        true_sizes: of the upright images, by id, where they are known; else the label file is believed.
    """
    people = labels.people
    keypoints = np.array([person.keypoints_image for person in people], np.float64)
    keypoints = keypoints.reshape(len(people), len(labels.skeleton.keypoints), 3)
    is_usable = np.all(np.isfinite(keypoints), axis=-1) & (keypoints[..., 2] > 0)
    points = np.where(is_usable[..., None], keypoints[..., :2], np.nan)
    no_box = (np.nan,) * 4
    boxes = np.array([no_box if person.box is None else person.box for person in people], np.float64).reshape(-1, 4)
    is_box = np.all(np.isfinite(boxes), axis=1) & np.all(boxes[:, 2:] > 0, axis=1)
    boxes = np.where(is_box[:, None], boxes, np.nan)
    low, high = np.fmin.reduce(points, axis=1), np.fmax.reduce(points, axis=1)
    sizes = {image.id: image.size for image in labels.images} | dict(true_sizes)
    return LabelTable(
        labels=labels,
        images={image.id: image for image in labels.images},
        points=points,
        visibility=keypoints[..., 2],
        boxes=boxes,
        areas=np.array([np.nan if person.area is None else person.area for person in people], np.float64),
        sizes=np.array([_width_height(sizes.get(person.image_id)) for person in people]).reshape(-1, 2),
        low=low,
        high=high,
        extents=np.where(is_box, boxes[:, 2:].max(1), (high - low).max(1)),
    )


def _width_height(size: Size | None) -> tuple[float, float]:
    return (np.nan, np.nan) if size is None else (size.width, size.height)
