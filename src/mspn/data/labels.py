"""Labels of any format in one form: what each reader gives, each writer takes, and `mspn data` works on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mspn.data.label_files import AnnotationError
from mspn.images import read_size
from mspn.records import Box, Size
from mspn.skeleton import Skeleton


@dataclass(frozen=True)
class LabelledPicture:
    """A picture of a labelled set."""

    id: int
    file_name: str
    """Relative to the set's folder of pictures, with forward slashes."""
    size: Size | None = None
    """As the label file says it; None where it does not."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What else the format says of it, kept so that writing the same format loses nothing."""

    def known_size(self, needed_by: Path) -> Size:
        """The size, for a format that cannot be written without.

        Raises:
            AnnotationError: if the labels do not say it.
        """
        if self.size is None:
            raise AnnotationError(
                f"the size of {self.file_name} is not known, and {needed_by} needs it;"
                " say with --images where the pictures are"
            )
        return self.size


@dataclass(frozen=True, eq=False)
class LabelledPerson:
    """Somebody's labels, in pixels of the picture."""

    id: int
    picture_id: int
    keypoints_image: Float[np.ndarray, "K 3"]
    """(x, y, visibility) in the order of the set's skeleton: 0 unlabelled, 1 occluded, 2 visible."""
    box: Box | None
    """None where the format has none: see `box_around`."""
    area: float | None = None
    is_crowd: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """As a picture's."""


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """The content of a label file, or of a folder of them, as it stands there: nobody is left out or mended."""

    skeleton: Skeleton
    pictures: Sequence[LabelledPicture]
    people: Sequence[LabelledPerson]
    extra: Mapping[str, Any] = field(default_factory=dict)
    """As a picture's."""


_BOX_MARGIN = 0.1
_AREA_OF_BOX = 0.53


def box_around(keypoints_image: Float[np.ndarray, "K 3"]) -> Box | None:
    """The box around the labelled keypoints, grown on each side by a tenth of its longer side.

    None where they are fewer than two, or all at one place.
    """
    points = keypoints_image[keypoints_image[:, 2] > 0, :2]
    if len(points) == 0:
        return None
    low, high = points.min(0), points.max(0)
    margin = _BOX_MARGIN * float((high - low).max())
    if margin == 0:
        return None
    (left, top), (width, height) = (low - margin).tolist(), (high - low + 2 * margin).tolist()
    return Box(left, top, width, height)


def area_of(person: LabelledPerson) -> float:
    """The labelled area in square image pixels, else 0.53 times that of the box, as CrowdPose's evaluation takes it.

    Who has no box either has the one around the keypoints; 0 where that is none.
    """
    if person.area is not None:
        return person.area
    box = person.box or box_around(person.keypoints_image) or Box(0, 0, 0, 0)
    return _AREA_OF_BOX * box.width * box.height


def with_sizes(labels: LabelledSet, images: Path) -> LabelledSet:
    """The labels with the size of every picture, read from its header where they do not say it.

    Raises:
        PictureError: if a picture is not in the folder, or cannot be read.
    """
    pictures = [
        picture if picture.size is not None else replace(picture, size=read_size(images / picture.file_name))
        for picture in labels.pictures
    ]
    return replace(labels, pictures=pictures)
