"""Labels of any format in one form: what each reader gives, each writer takes, and `mspn data` works on.

Writers warn, once per kind, about data that their format cannot represent.
"""

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mspn.errors import AnnotationError
from mspn.io.image_headers import read_size
from mspn.structures.boxes import Box, Size
from mspn.structures.shapes import Float
from mspn.structures.skeleton import Skeleton, convert_keypoints, match_keypoints

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabeledImage:
    """An image of a labeled set."""

    id: int
    file_name: str
    """Relative to the set's folder of images, with forward slashes."""
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
                " say with --images where the images are"
            )
        return self.size


@dataclass(frozen=True, eq=False)
class LabeledPerson:
    """Somebody's labels, in pixels of the image."""

    id: int
    image_id: int
    keypoints_image: Float[np.ndarray, "K 3"]
    """(x, y, visibility) in the order of the set's skeleton: 0 unlabeled, 1 occluded, 2 visible."""
    box: Box | None
    """None where the format has none: see `box_around`."""
    area: float | None = None
    is_crowd: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """As an image's."""


@dataclass(frozen=True, eq=False)
class LabeledSet:
    """The content of a label file, or of a folder of them, as it stands there: nobody is left out or mended."""

    skeleton: Skeleton
    images: Sequence[LabeledImage]
    people: Sequence[LabeledPerson]
    extra: Mapping[str, Any] = field(default_factory=dict)
    """As an image's."""
    category: str = ""
    """What the boxes hold, by the category's name in the labels; empty: as the skeleton says."""


IGNORED = "ignored_keypoints"
"""Key in a person's `extra`, and field of COCO annotations: names of keypoints of which the labels say nothing, neither
where they are nor that they are not to be seen."""


def ignored_keypoints(person: LabeledPerson) -> tuple[str, ...]:
    """Names of the keypoints that training leaves out for a person; whatever else stands under the key names none."""
    names = person.extra.get(IGNORED, ())
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


_UNKNOWN_CATEGORY = "object"
"""No word for people: whose keypoints are of no scheme that we know need not be people's."""


def with_categories(labels: LabeledSet, names: Sequence[str]) -> LabeledSet:
    """The labels with the category of each person, by its name; empty: the set's, which is the first one named.

    Several stand where those of COCO files do, so that writing COCO keeps them.
    """
    different = [name for name in dict.fromkeys(names) if name]
    if not different:
        return labels
    labels = replace(labels, category=different[0])
    if len(different) == 1:
        return labels
    keypoints = list(labels.skeleton.keypoints)
    rows = [{"id": number, "name": name, "keypoints": keypoints} for number, name in enumerate(different, start=1)]
    people = [
        replace(person, extra={**person.extra, "category_id": different.index(name) + 1}) if name else person
        for person, name in zip(labels.people, names, strict=True)
    ]
    return replace(labels, people=people, extra={**labels.extra, "categories": rows})


def category_of(labels: LabeledSet, person: LabeledPerson) -> str:
    """What a person's box holds, in a word, for formats that ask for one."""
    rows = labels.extra.get("categories")
    number = person.extra.get("category_id")
    named = [row.get("name") for row in rows if row.get("id") == number] if isinstance(rows, list) else []
    return next((name for name in named if isinstance(name, str) and name), category_of_set(labels))


def category_of_set(labels: LabeledSet) -> str:
    """What the boxes of a set hold, in a word, for formats that ask for one."""
    return labels.category or labels.skeleton.category or _UNKNOWN_CATEGORY


_BOX_MARGIN = 0.1
_AREA_OF_BOX = 0.53


def box_around(keypoints_image: Float[np.ndarray, "K 3"]) -> Box | None:
    """The box around the labeled keypoints, grown on each side by a tenth of its longer side.

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


def area_of(person: LabeledPerson) -> float:
    """The labeled area in square image pixels, if it is above 0, else 0.53 times the box's, as CrowdPose's evaluation.

    Who has no box either has the one around the keypoints; 0 where that is none.
    """
    if person.area is not None and person.area > 0:
        return person.area
    box = person.box or box_around(person.keypoints_image) or Box(0, 0, 0, 0)
    return _AREA_OF_BOX * box.width * box.height


def with_sizes(labels: LabeledSet, images: Path) -> LabeledSet:
    """The labels with the size of every image, read from its header where they do not say it.

    Raises:
        ImageError: if an image is not in the folder, or cannot be read.
    """
    sized = [
        entry if entry.size is not None else replace(entry, size=read_size(images / entry.file_name))
        for entry in labels.images
    ]
    return replace(labels, images=sized)


def split_by_image(labels: LabeledSet, share: float, seed: int) -> tuple[LabeledSet, LabeledSet]:
    """Draw images for a second set; everybody in an image goes where it goes.

    Images are drawn by file, so that two entries of one file stay together, and by a hash of its name, so that the same
    images are drawn from the same set in any order or format, and most of them again when the set has grown.

    Args:
        labels: the set.
        share: of the files that the second set gets, 0 to 1; at least one file is left in each.
        seed: of the drawing.

    Raises:
        AnnotationError: if there are fewer than two files, or somebody's image is not among the images.
    """
    files = sorted({image.file_name for image in labels.images})
    if len(files) < 2:
        raise AnnotationError(f"{len(files)} image cannot be split; a set of two images or more can")
    known = {image.id: image.file_name for image in labels.images}
    for person in labels.people:
        if person.image_id not in known:
            raise AnnotationError(
                f"person {person.id} is in image {person.image_id}, which is not in the labels; see `mspn data check`"
            )
    count = min(max(round(share * len(files)), 1), len(files) - 1)
    chosen = set(sorted(files, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:count])

    def part(is_chosen: bool) -> LabeledSet:
        return replace(
            labels,
            images=[image for image in labels.images if (image.file_name in chosen) == is_chosen],
            people=[person for person in labels.people if (known[person.image_id] in chosen) == is_chosen],
        )

    return part(is_chosen=False), part(is_chosen=True)


def warn_dropped(path: Path, count: int, what: str) -> None:
    """Warn that `count` things are left out, if there are any."""
    if count:
        logger.warning("%s: %s (%d)", path, what, count)


def warn_dropped_fields(
    labels: LabeledSet,
    path: Path,
    *,
    people: Collection[str] = (),
    images: Collection[str] = (),
    file: Collection[str] = (),
) -> None:
    """Warn of the fields of the source that are not written; the arguments name those that are."""
    warn_dropped(path, sum(person.area is not None for person in labels.people), "areas of people are left out")
    _warn_keys(path, "people", (person.extra for person in labels.people), people)
    _warn_keys(path, "images", (image.extra for image in labels.images), images)
    _warn_keys(path, "the whole file", [labels.extra], ("categories", *file))


def warn_occluded(labels: LabeledSet, path: Path) -> None:
    """Warn of occluded keypoints, which the format writes as visible."""
    count = sum(int((person.keypoints_image[:, 2] == 1).sum()) for person in labels.people)
    warn_dropped(path, count, "occluded keypoints are written as visible ones")


def without_crowds(labels: LabeledSet, path: Path) -> LabeledSet:
    """The labels without crowds, for a format that cannot tell them from people."""
    people = [person for person in labels.people if not person.is_crowd]
    warn_dropped(path, len(labels.people) - len(people), "crowds are left out, the format has none")
    return replace(labels, people=people)


def to_skeleton(labels: LabeledSet, skeleton: Skeleton, path: Path) -> LabeledSet:
    """The labels in the order of a format's own keypoints, by name; what it does not have is left out."""
    names = labels.skeleton.keypoints
    matched = match_keypoints(names, skeleton.keypoints).values()
    missing = [index for index, name in enumerate(names) if name not in matched]
    count = sum(int((person.keypoints_image[missing, 2] > 0).sum()) for person in labels.people)
    listed = ", ".join(names[index] for index in missing)
    warn_dropped(path, count, f"keypoints left out that {skeleton.name} does not have: {listed}")
    people = [
        replace(person, keypoints_image=convert_keypoints(person.keypoints_image, labels.skeleton, skeleton))
        for person in labels.people
    ]
    return replace(labels, skeleton=skeleton, people=people)


def _warn_keys(path: Path, whose: str, extras: Iterable[Mapping[str, Any]], written: Collection[str]) -> None:
    dropped = [extra.keys() - set(written) for extra in extras]
    names = ", ".join(sorted(set().union(*dropped)))
    warn_dropped(path, sum(map(bool, dropped)), f"fields of {whose} are left out: {names}")
