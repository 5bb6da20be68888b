import math
from dataclasses import replace

import numpy as np
import pytest

from mspn.labels.checks import check_labels
from mspn.labels.label_set import LabeledSet
from mspn.labels.label_table import Severity
from mspn.structures.boxes import Box
from tests.labeled_sets import sound_set, with_keypoints, with_person


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (Box(20, 25, 0, 150), "box [20, 25, 0, 150]"),
        (Box(20, 25, 80, -1), "box [20, 25, 80, -1]"),
        (Box(math.nan, 25, 80, 150), "box [nan, 25, 80, 150]"),
        (Box(20, 25, math.inf, 150), "box [20, 25, inf, 150]"),
    ],
)
def test_a_box_that_is_empty_or_not_finite_is_found(box: Box, words: str):
    (finding,) = check_labels(with_person(sound_set(), 1, box=box))

    assert (finding.kind, finding.person_id, finding.message) == ("bad_box", 1, words)
    assert finding.severity is Severity.ERROR


def test_a_box_beside_the_image_is_found():
    kinds = [finding.kind for finding in check_labels(with_person(sound_set(), 1, box=Box(300, 25, 80, 150)))]

    assert kinds == ["box_outside", "far_from_box"]


def test_a_box_that_reaches_beyond_the_image_is_found():
    # The image is 300 wide; 160 + 150 reaches 10 beyond, more than 5 % of 150.
    (finding,) = check_labels(with_person(sound_set(), 2, box=Box(160, 25, 150, 150)))

    assert finding.kind == "box_beyond_image"
    assert finding.message == "box [160, 25, 150, 150] in an image of 300x200 pixels: 10.0 pixels too far"


def test_a_box_that_is_cut_off_a_little_late_is_no_finding():
    assert check_labels(with_person(sound_set(), 2, box=Box(160, 25, 147, 150))) == []


@pytest.mark.parametrize(("area", "words"), [(0.0, "area 0"), (math.nan, "area nan"), (None, "area missing")])
def test_an_area_that_is_missing_or_no_area_is_found(area: float | None, words: str):
    (finding,) = check_labels(with_person(sound_set(), 3, area=area))

    assert (finding.kind, finding.person_id, finding.message) == ("bad_area", 3, words)


def test_a_set_without_any_areas_is_sound():
    labels = sound_set()

    assert check_labels(replace(labels, people=[replace(person, area=None) for person in labels.people])) == []


def test_an_area_that_does_not_fit_into_its_box_is_found():
    # 80 x 150 = 12000.
    (finding,) = check_labels(with_person(sound_set(), 3, area=13000.0))

    assert (finding.kind, finding.message) == ("large_area", "area 13000 in a box of 12000.0 square pixels")


@pytest.mark.parametrize("visibility", [3, -1, 0.5, math.nan])
def test_a_visibility_that_there_is_not_is_found(visibility: float):
    (finding,) = check_labels(with_keypoints(sound_set(), 1, {"nose": (60, 40, visibility)}))

    assert (finding.kind, finding.person_id) == ("bad_visibility", 1)
    assert finding.message == f"nose has visibility {visibility:g}"


def test_a_labeled_keypoint_at_no_finite_position_is_found():
    (finding,) = check_labels(with_keypoints(sound_set(), 1, {"nose": (math.nan, 40, 2)}))

    assert (finding.kind, finding.message) == ("bad_number", "nose is labeled at (nan, 40)")


def test_an_unlabeled_keypoint_may_be_anywhere():
    assert check_labels(with_keypoints(sound_set(), 1, {"nose": (math.nan, 1e9, 0)})) == []


def test_keypoints_labeled_at_the_image_s_corner_are_found():
    findings = check_labels(with_keypoints(sound_set(), 1, {"nose": (0, 0, 2), "left_eye": (0, 0, 1)}))

    (finding,) = [finding for finding in findings if finding.kind == "at_origin"]
    assert finding.message == "nose, left_eye labeled at exactly (0, 0)"


def test_a_person_whose_keypoints_are_all_in_one_place_is_found():
    keypoints = np.tile([60.0, 80.0, 2.0], (17, 1))

    (finding,) = check_labels(with_person(sound_set(), 1, keypoints_image=keypoints))

    assert (finding.kind, finding.message) == ("one_point", "all 17 keypoints at (60, 80)")


def test_somebody_without_keypoints_is_found_but_a_crowd_is_not():
    nothing = np.zeros((17, 3))

    (finding,) = check_labels(with_person(sound_set(), 1, keypoints_image=nothing))
    of_crowd = check_labels(with_person(sound_set(), 1, keypoints_image=nothing, is_crowd=True))

    assert (finding.kind, finding.message) == ("no_keypoints", "no keypoint is labeled")
    assert of_crowd == []


def test_a_wrong_number_of_keypoints_is_found():
    (finding,) = check_labels(with_person(sound_set(), 1, extra={"num_keypoints": 16}))

    assert (finding.kind, finding.message) == ("wrong_count", "num_keypoints is 16, but 17 are labeled")


def test_keypoints_outside_the_image_are_found():
    # The image is 200 high; two pixels more are let pass.
    (finding,) = check_labels(with_keypoints(sound_set(), 1, {"left_ankle": (74, 203, 2), "right_ankle": (46, 202, 2)}))

    assert (finding.kind, finding.person_id) == ("outside_image", 1)
    assert finding.message == "left_ankle at (74.0, 203.0) in an image of 300x200 pixels"


def test_keypoints_far_from_the_box_are_found():
    # The box ends at 20 + 80; half of 150 more is let pass.
    findings = check_labels(with_keypoints(sound_set(), 1, {"left_wrist": (176, 110, 2)}))
    near = check_labels(with_keypoints(sound_set(), 1, {"left_wrist": (174, 110, 2)}))

    (finding,) = [finding for finding in findings if finding.kind == "far_from_box"]
    assert finding.message == "left_wrist 76.0 pixels outside the box of 80.0x150.0"
    assert "far_from_box" not in {finding.kind for finding in near}


def _with_first_again(shift: float) -> LabeledSet:
    """Person 1 is there again as person 13, all keypoints further right."""
    labels = sound_set()
    first = labels.people[0]
    again = replace(first, id=13, keypoints_image=first.keypoints_image + np.array([shift, 0, 0]))
    return replace(labels, people=[*labels.people, again])


def test_somebody_who_was_labeled_twice_is_found():
    # The person is 150 tall; 3 % are 4.5 pixels.
    (finding,) = check_labels(_with_first_again(4.0))

    assert (finding.kind, finding.image, finding.person_id) == ("labeled_twice", "1.png", 13)
    assert finding.message == "the same keypoints (17 in common, 4.0 pixels apart) as person 1"


def test_two_people_in_one_box_with_their_own_keypoints_are_no_finding():
    assert check_labels(_with_first_again(5.0)) == []


def test_without_common_keypoints_the_same_box_is_found():
    labels = sound_set()
    first = labels.people[0]
    few = np.where(np.arange(17)[:, None] < 2, first.keypoints_image, 0)
    again = replace(first, id=13, keypoints_image=few)

    (finding,) = check_labels(replace(labels, people=[*labels.people, again]))

    assert (finding.kind, finding.message) == ("labeled_twice", "the same box (100% in common) as person 1")


def test_crowds_are_never_somebody_twice():
    labels = _with_first_again(0.0)
    crowd = replace(labels.people[-1], is_crowd=True)

    assert check_labels(replace(labels, people=[*labels.people[:-1], crowd])) == []
