"""What can be wrong with labels: every kind of finding, how bad it is, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


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
