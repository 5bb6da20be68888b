import pytest

from mspn.labels.checks import check_labels
from mspn.labels.label_set import LabeledSet
from tests.labeled_sets import sound_set, with_keypoints, with_swapped


def _kinds(labels: LabeledSet) -> list[str]:
    return [finding.kind for finding in check_labels(labels)]


def test_hips_that_are_swapped_against_the_shoulders_are_found():
    (finding,) = check_labels(with_swapped(sound_set(), 1, "hip", "knee", "ankle"))

    assert (finding.kind, finding.person_id) == ("crossed_torso", 1)
    assert finding.message == "the shoulders face towards the camera, the hips away from it"


def test_somebody_who_turns_the_back_to_the_camera_is_sound():
    everything = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    nobody_sees = dict.fromkeys(("nose", "left_eye", "right_eye"), (0, 0, 0))

    assert _kinds(with_keypoints(with_swapped(sound_set(), 1, "ear", *everything), 1, nobody_sees)) == []


def test_a_face_whose_eyes_are_swapped_is_found():
    (finding,) = check_labels(with_swapped(sound_set(), 1, "eye", "ear"))

    assert (finding.kind, finding.person_id) == ("mirrored_face", 1)
    assert finding.message == "seen from the nose, the left eye is where the right eye should be"


def test_a_face_that_is_partly_guessed_says_nothing():
    # The right eye of person 1 is at (56, 35), the left one at (64, 35).
    guessed = {"left_eye": (56, 35, 1), "right_eye": (64, 35, 2)}

    assert _kinds(with_keypoints(sound_set(), 1, guessed)) == []


def test_a_body_that_is_swapped_below_a_face_is_found():
    (finding,) = check_labels(with_swapped(sound_set(), 1, "shoulder", "elbow", "wrist", "hip", "knee", "ankle"))

    assert (finding.kind, finding.person_id) == ("turned_head", 1)
    assert finding.message == "the face looks to the camera, the shoulders face away from it"


@pytest.mark.parametrize(
    ("swapped", "words"),
    [
        # Shoulder (75, 60) to elbow (85, 85): 26.9, to the other elbow (35, 85): 47.2; both sides are the same.
        (("elbow", "wrist"), "shoulder to elbow: 94.3 pixels on both sides together, 53.9 if swapped"),
        # Hip (70, 105) to knee (72, 135): 30.1, to the other knee (48, 135): 37.2.
        (("knee", "ankle"), None),
    ],
)
def test_limbs_that_would_be_much_shorter_if_swapped_are_found(swapped: tuple[str, ...], words: str | None):
    found = [finding.message for finding in check_labels(with_swapped(sound_set(), 1, *swapped))]

    assert found == ([] if words is None else [words])


def test_ankles_are_swapped_where_the_knees_are_close_but_not_where_somebody_sits_cross_legged():
    # Knees (72, 135) and (48, 135); lower legs of 34.4, or 20.4 if swapped; three quarters of 34.4 are 25.8.
    close = {"left_ankle": (44, 155, 2), "right_ankle": (76, 155, 2)}
    # Knees 80 apart, lower legs of 72.8, or 22.4 if swapped.
    wide = {
        **{"left_knee": (100, 135, 2), "right_knee": (20, 135, 2)},
        **{"left_ankle": (30, 155, 2), "right_ankle": (90, 155, 2)},
    }

    assert _kinds(with_keypoints(sound_set(), 1, close)) == ["crossed_limbs"]
    assert _kinds(with_keypoints(sound_set(), 1, wide)) == []


def test_a_limb_that_is_three_times_too_long_is_found():
    # The left forearm, (85, 85) to (88, 110), is 25.2 pixels in everybody; here it is 90.
    (finding,) = check_labels(with_keypoints(sound_set(), 1, {"left_wrist": (139, 157, 2)}))

    assert (finding.kind, finding.person_id) == ("long_limb", 1)
    assert finding.message == "left_elbow to left_wrist is 3.6 times as long as the other limbs suggest"
