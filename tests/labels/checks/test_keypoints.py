import math

import numpy as np
import pytest

from mspn.labels.checks import check_labels
from tests.labeled_sets import sound_set, with_keypoints, with_person


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
