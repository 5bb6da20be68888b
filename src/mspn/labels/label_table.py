"""The people of a labeled set as flat arrays, so that a rule or a count looks at all of them at once.

What rules find: every kind of finding, how bad it is, and what to do about it. What is counted: images, people,
keypoints.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from mspn.labels.label_set import LabeledImage, LabeledSet
from mspn.structures.boxes import Size
from mspn.structures.shapes import Bool, Float


class Severity(str, Enum):
    """How certain a finding is."""

    ERROR = "error"
    """Certainly wrong."""
    WARNING = "warning"
    """Unlikely to be right; look at it."""


@dataclass(frozen=True)
class Kind:
    """A kind of finding."""

    severity: Severity
    advice: str
    """What to do, in a sentence without a full stop."""


@dataclass(frozen=True)
class Finding:
    """A mistake in the labels, or a label that looks wrong."""

    kind: str
    """A key of `KINDS`."""
    message: str
    """What is wrong, with the values; pixels of the image."""
    image: str | None = None
    """File name; None where it is about the whole set, or the image is unknown."""
    image_id: int | None = None
    person_id: int | None = None
    """None where it is not about one person."""

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    @property
    def place(self) -> str:
        """Image and person as text."""
        person = [] if self.person_id is None else [f"person {self.person_id}"]
        image = [] if self.image is None else [self.image]
        return ", ".join([*image, *person]) or "the whole set"


def order_findings(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings by kind: errors first, then what is most frequent."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    worst_first = sorted(kinds, key=lambda kind: (KINDS[kind].severity is Severity.WARNING, -len(kinds[kind]), kind))
    return {kind: kinds[kind] for kind in worst_first}


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

KINDS: dict[str, Kind] = {
    # Images
    "missing_image": Kind(_ERROR, "copy the image there, mend its file name, or remove it and its people"),
    "unreadable_image": Kind(_ERROR, "copy or download the image again, or remove it and its people"),
    "damaged_image": Kind(_ERROR, "copy or download the image again, or remove it and its people"),
    "wrong_size": Kind(_ERROR, "label that very file, or scale the labels; then write its true width and height"),
    "rotated_image": Kind(
        _WARNING, "see with `mspn data show` that the labels fit the upright image; save it upright to be safe"
    ),
    "same_file": Kind(_ERROR, "keep one entry and give it the people of all"),
    "same_image": Kind(_WARNING, "keep one of them, above all if they stand in training and validation"),
    # Ids
    "duplicate_image_id": Kind(_ERROR, "give each image an id of its own and mend the people that refer to it"),
    "duplicate_person_id": Kind(_ERROR, "number the people anew"),
    "unknown_image": Kind(_ERROR, "mend the image ids; ids of two files may have been mixed"),
    "labeled_twice": Kind(_WARNING, "remove one of the two"),
    # Boxes
    "bad_box": Kind(_ERROR, "write [left, top, width, height] with finite numbers, width and height above 0"),
    "box_outside": Kind(_ERROR, "write [left, top, width, height] in pixels of this image"),
    "box_beyond_image": Kind(_WARNING, "cut the box off at the image's border"),
    "bad_area": Kind(_ERROR, "write the person's area in square pixels; evaluation divides by it"),
    "large_area": Kind(_WARNING, "write the area of the person, which fits into the box, in square pixels"),
    "corner_boxes": Kind(_ERROR, "turn corners into sizes: width = right - left, height = bottom - top"),
    # Keypoints
    "bad_visibility": Kind(_ERROR, "write 0 for unlabeled, 1 for occluded, 2 for visible"),
    "bad_number": Kind(_ERROR, "write a finite position, or visibility 0"),
    "at_origin": Kind(_ERROR, "write visibility 0 for keypoints that nobody labeled"),
    "one_point": Kind(_ERROR, "label the person again, or write visibility 0"),
    "no_keypoints": Kind(_WARNING, "label somebody, or leave it: training skips who has no keypoints"),
    "wrong_count": Kind(_WARNING, "write the number of labeled keypoints; evaluation leaves out who has 0"),
    "outside_image": Kind(_WARNING, "write visibility 0 where the image ends before the keypoint"),
    "far_from_box": Kind(_WARNING, "mend the keypoint or the box; two people may have traded them"),
    "normalized": Kind(_ERROR, "multiply by the images' width and height: labels are in pixels"),
    "other_scale": Kind(_ERROR, "scale the labels to the images, or give the images that were labeled"),
    "keypoint_names": Kind(_WARNING, "rename them, or say in a recipe's keypoint_names what they are"),
    # Bodies
    "mirrored_set": Kind(_WARNING, "look at some with `mspn data show`; if so, let left and right trade names"),
    "mirrored_face": Kind(_WARNING, "look at it; if the person faces the camera, left eye and right eye trade places"),
    "turned_head": Kind(_WARNING, "look at it; either the face or the body may have left and right swapped"),
    "crossed_torso": Kind(_WARNING, "look at it; left and right of the shoulders or of the hips may be swapped"),
    "crossed_limbs": Kind(_WARNING, "look at it; left and right may be swapped along the limb"),
    "long_limb": Kind(_WARNING, "look at it; one end of the limb may be on another person or on the background"),
}


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


PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True)
class KeypointCount:
    """How often a keypoint is labeled; crowds do not count."""

    visible: int
    occluded: int
    unlabeled: int


@dataclass(frozen=True)
class LabelStatistics:
    """What a labeled set holds; distributions are values at `PERCENTILES`, empty where nothing is known."""

    images: int
    images_without_people: int
    people: int
    """Crowds are counted apart."""
    crowds: int
    keypoints: dict[str, KeypointCount]
    """By name, in the skeleton's order."""
    people_with_keypoints: list[int]
    """How many people have 0, 1, ... labeled keypoints."""
    people_per_image: list[float]
    keypoints_per_person: list[float]
    box_heights_px: list[float]
    image_widths_px: list[float]
    image_heights_px: list[float]


def count_labels(labels: LabeledSet, true_sizes: Mapping[int, Size]) -> LabelStatistics:
    """Count images, people and keypoints.

    Args:
        labels: as they were read.
        true_sizes: of the upright images, by id; images that are not in it have the size in the label file.
    """
    table = make_table(labels, true_sizes)
    is_person = ~np.array([person.is_crowd for person in labels.people], bool)
    per_image = Counter(person.image_id for person in labels.people if not person.is_crowd)
    visibility = table.visibility[is_person]
    counts = (visibility > 0).sum(1)
    sizes = [true_sizes.get(image.id, image.size) for image in labels.images]
    heights = table.boxes[is_person, 3]
    return LabelStatistics(
        images=len(labels.images),
        images_without_people=sum(image.id not in per_image for image in labels.images),
        people=int(is_person.sum()),
        crowds=int((~is_person).sum()),
        keypoints={
            name: KeypointCount(
                visible=int((column == 2).sum()),
                occluded=int((column == 1).sum()),
                unlabeled=int((column == 0).sum()),
            )
            for name, column in zip(labels.skeleton.keypoints, visibility.T, strict=True)
        },
        people_with_keypoints=np.bincount(counts, minlength=len(labels.skeleton.keypoints) + 1).tolist(),
        people_per_image=_distribution([per_image[image.id] for image in labels.images]),
        keypoints_per_person=_distribution(counts),
        box_heights_px=_distribution(heights[np.isfinite(heights)]),
        image_widths_px=_distribution([size.width for size in sizes if size is not None]),
        image_heights_px=_distribution([size.height for size in sizes if size is not None]),
    )


def _distribution(values: object) -> list[float]:
    numbers = np.asarray(values, np.float64)
    if numbers.size == 0:
        return []
    return [round(float(value), 1) for value in np.percentile(numbers, PERCENTILES, method="nearest")]
