from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mspn.labels.checks import check_labels
from mspn.labels.label_set import LabeledPerson, LabeledSet
from mspn.labels.label_table import Finding
from mspn.structures.boxes import Box, Size
from mspn.structures.skeleton import Skeleton
from tests.labeled_sets import sound_set


def _find(labels: LabeledSet, kind: str) -> Finding:
    (finding,) = [finding for finding in check_labels(labels) if finding.kind == kind]
    assert finding.place == "the whole set"
    return finding


def _change_everyone(change: Callable[[LabeledPerson], LabeledPerson]) -> LabeledSet:
    labels = sound_set()
    return replace(labels, people=[change(person) for person in labels.people])


def test_keypoints_in_shares_of_the_image_are_found():
    finding = _find(
        _change_everyone(
            lambda person: replace(person, keypoints_image=person.keypoints_image / np.array([300, 200, 1]), box=None)
        ),
        "normalized",
    )

    # The nose is the highest point, at 15 + 20; the eyes at 35 / 200; the ankles at 165 / 200.
    assert finding.message.startswith("the coordinates of all keypoints lie between 0.1")


def test_boxes_in_shares_of_the_image_are_found():
    finding = _find(_change_everyone(lambda person: replace(person, box=Box(0.1, 0.125, 0.25, 0.75))), "normalized")

    assert finding.message == "the coordinates of all boxes lie between 0.1 and 0.75"


def test_labels_of_larger_images_are_found():
    labels = sound_set()
    small = [replace(image, size=Size(100, 150)) for image in labels.images]

    finding = _find(replace(labels, images=small), "other_scale")

    assert finding.message == "100% of the people have keypoints beyond the right or lower border"


def test_labels_of_smaller_images_are_found():
    labels = sound_set()
    large = [replace(image, size=Size(400, 600)) for image in labels.images]

    finding = _find(replace(labels, images=large), "other_scale")

    # The left wrist of person 12 at 150 + 15 + 78 = 243 of 600, ankles at 165 of 400.
    assert finding.message == "nobody's keypoints lie further right than 40% of the images' width, or lower than 41%"


def test_boxes_that_are_corners_are_found():
    finding = _find(
        _change_everyone(
            lambda person: replace(
                person, box=Box(person.box.left, person.box.top, person.box.left + 80, person.box.top + 150)
            )
        ),
        "corner_boxes",
    )

    assert finding.message.startswith("in 100% of the boxes the third and fourth number are where the keypoints end")


def test_a_set_in_which_nearly_everybody_shows_the_back_is_found():
    labels = sound_set()
    order = labels.skeleton.mirror_order
    twice = [replace(person, id=person.id + 100 * round_) for round_ in (0, 1) for person in labels.people]
    mirrored = [replace(person, keypoints_image=person.keypoints_image[order]) for person in twice]

    finding = _find(replace(labels, people=mirrored), "mirrored_set")

    assert finding.message == "by their shoulders, 0% of 24 people face the camera; usually about 70 % do"


def test_a_set_of_nobody_is_sound():
    assert check_labels(replace(sound_set(), people=[])) == []


def test_a_keypoint_scheme_of_one_s_own_is_checked_too():
    labels = sound_set()
    leaf = Skeleton(name="leaf", keypoints=tuple(f"vein_{number}" for number in range(17)))

    assert check_labels(replace(labels, skeleton=leaf)) == []


def test_names_that_are_nearly_those_of_a_known_skeleton_are_found():
    labels = sound_set()
    names = (*(name.replace("_", " ") for name in labels.skeleton.keypoints[:-1]), "toe")

    finding = _find(replace(labels, skeleton=Skeleton(name="mine", keypoints=names)), "keypoint_names")

    assert finding.message.startswith(f"compared with {labels.skeleton.name}, spelled: 'left eye' for left_eye, ")
    assert finding.message.endswith("; unknown: toe")


def test_names_of_other_bodies_are_no_finding():
    labels = sound_set()
    names = tuple(f"fin_{number}" for number in range(len(labels.skeleton.keypoints)))

    kinds = {finding.kind for finding in check_labels(replace(labels, skeleton=Skeleton(name="x", keypoints=names)))}

    assert "keypoint_names" not in kinds
