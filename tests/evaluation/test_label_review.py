from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mspn.evaluation.label_review import find_suspect_labels
from mspn.labels.label_set import LabeledSet
from mspn.structures.skeleton import COCO_17, LSP_14, Skeleton, convert_keypoints
from tests.labeled_sets import sound_set, with_keypoints, with_person, with_swapped

# Everybody of a sound set stands upright and faces the camera: shoulders 30 and hips 20 pixels wide, torso 45 long.
UPPER, LOWER = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")


def _results(labels: LabeledSet, score: float = 0.7, skeleton: Skeleton = COCO_17) -> list[dict[str, Any]]:
    """What a network that makes no mistake finds."""
    rows = []
    for person in labels.people:
        keypoints = convert_keypoints(person.keypoints_image, labels.skeleton, skeleton)
        keypoints[:, 2] = score
        rows.append({"annotation_id": person.id, "keypoints": keypoints.ravel().tolist()})
    return rows


def _pairs(parts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"left_{part}", f"right_{part}") for part in parts)


def _turned(labels: LabeledSet, number: int) -> LabeledSet:
    """The set with one person upside down, and left and right still as seen from the front."""
    person = labels.people[number - 1]
    keypoints = person.keypoints_image.copy()
    keypoints[:, :2] = keypoints[:, :2].max(0) + keypoints[:, :2].min(0) - keypoints[:, :2]
    return with_person(labels, number, keypoints_image=keypoints)


def test_labels_that_agree_with_the_network_are_not_suspect():
    assert find_suspect_labels(sound_set(), _results(sound_set()), COCO_17) == {}


@pytest.mark.parametrize("parts", [UPPER + LOWER, UPPER, LOWER])
def test_left_and_right_are_swapped_back_in_the_body_or_in_half_of_it(parts: tuple[str, ...]):
    suspects = find_suspect_labels(with_swapped(sound_set(), 3, *parts), _results(sound_set()), COCO_17)

    assert list(suspects) == [3]
    assert suspects[3].swap == _pairs(parts)
    assert suspects[3].leave_out == ()
    assert suspects[3].reason.endswith(" as labeled, 1.00 swapped, score 0.70")


def test_a_pair_of_which_one_side_is_labeled_trades_places_too():
    # In the labels, the left wrist stands where the right one is, and nothing stands for the right one.
    labels = with_swapped(with_keypoints(sound_set(), 3, {"left_wrist": (0, 0, 0)}), 3, *UPPER, *LOWER)

    suspects = find_suspect_labels(labels, _results(sound_set()), COCO_17)

    assert suspects[3].swap == _pairs(UPPER + LOWER)


def test_a_network_that_is_not_sure_of_the_sides_swaps_nobody():
    assert find_suspect_labels(with_swapped(sound_set(), 3, *UPPER, *LOWER), _results(sound_set(), 0.45), COCO_17) == {}


def test_a_network_is_not_asked_for_the_sides_of_people_upside_down():
    ground_truth = _turned(sound_set(), 3)

    assert find_suspect_labels(with_swapped(ground_truth, 3, *UPPER, *LOWER), _results(ground_truth), COCO_17) == {}


def test_wrists_that_are_swapped_alone_are_left_out_where_that_makes_the_forearms_too_long():
    # 57.6 pixels in place of 25.2.
    suspects = find_suspect_labels(with_swapped(sound_set(), 3, "wrist"), _results(sound_set()), COCO_17)

    assert (suspects[3].swap, suspects[3].leave_out) == ((), ("left_wrist", "right_wrist"))


def test_a_limb_that_is_labeled_from_its_end_is_turned():
    # Shoulder (75, 60) and wrist (88, 110) of person 1, who stands at (10, 15), each at the other's place.
    labels = with_keypoints(sound_set(), 1, {"left_shoulder": (88, 110, 2), "left_wrist": (75, 60, 1)})

    suspects = find_suspect_labels(labels, _results(sound_set()), COCO_17)

    assert suspects[1].swap == (("left_shoulder", "left_wrist"),)
    assert suspects[1].leave_out == ()
    assert "similarity 0.00 at most as labeled, 1.00 at least swapped" in suspects[1].reason


def test_two_limbs_of_a_person_are_turned():
    person = sound_set().people[0].keypoints_image
    rows = dict(zip(COCO_17.keypoints, person.tolist(), strict=True))
    limbs = (("left_shoulder", "left_wrist"), ("left_hip", "left_ankle"))
    turned = {one: rows[other] for ends in limbs for one, other in (ends, ends[::-1])}

    assert find_suspect_labels(with_keypoints(sound_set(), 1, turned), _results(sound_set()), COCO_17)[1].swap == limbs


@pytest.mark.parametrize(
    ("wrist", "score", "is_suspect"),
    [
        # The left forearm of person 1, (85, 85) to (88, 110), is 25.2 pixels long; here it is 90.
        ((139, 157, 2), 0.7, True),
        ((139, 157, 2), 0.35, False),
        # As long as it should be, though 37.5 pixels from where the network sees the wrist.
        ((60, 85, 2), 0.7, False),
    ],
)
def test_a_keypoint_is_left_out_where_a_sure_network_sees_it_elsewhere_and_its_limb_is_too_long(
    wrist: tuple[float, float, float], score: float, is_suspect: bool
):
    suspects = find_suspect_labels(
        with_keypoints(sound_set(), 1, {"left_wrist": wrist}), _results(sound_set(), score), COCO_17
    )

    assert {number: suspect.leave_out for number, suspect in suspects.items()} == (
        {1: ("left_wrist",)} if is_suspect else {}
    )
    if is_suspect:  # 51 pixels to the right, 47 down
        assert suspects[1].reason == "left_wrist: 69 pixels away, score 0.70, a limb 3.6 times as long as expected"


def test_what_is_misplaced_is_told_from_the_swapped_labels():
    labels = with_keypoints(with_swapped(sound_set(), 1, *UPPER, *LOWER), 1, {"right_wrist": (139, 157, 2)})

    suspects = find_suspect_labels(labels, _results(sound_set()), COCO_17)

    assert suspects[1].swap == _pairs(UPPER + LOWER)
    assert suspects[1].leave_out == ("left_wrist",)
    assert suspects[1].reason.count("; ") == 1


def test_a_network_of_other_keypoints_judges_those_that_both_have():
    labels = with_swapped(sound_set(), 3, *UPPER, *LOWER)

    assert list(find_suspect_labels(labels, _results(sound_set(), skeleton=LSP_14), LSP_14)) == [3]


def test_people_without_results_and_crowds_are_left_alone():
    labels = with_swapped(with_swapped(sound_set(), 3, *UPPER, *LOWER), 4, *UPPER, *LOWER)
    labels = with_person(labels, 4, is_crowd=True)
    results = [row for row in _results(sound_set()) if row["annotation_id"] != 3]

    assert find_suspect_labels(labels, results, COCO_17) == {}
    assert find_suspect_labels(labels, [], COCO_17) == {}


def test_labels_without_boxes_and_areas_can_be_suspect_too():
    labels = with_swapped(sound_set(), 3, *UPPER, *LOWER)
    labels = replace(labels, people=[replace(person, box=None, area=None) for person in labels.people])

    assert list(find_suspect_labels(labels, _results(sound_set()), COCO_17)) == [3]
