from dataclasses import replace

import numpy as np

from mspn.labels.checks import check_labels
from mspn.labels.label_set import LabeledSet
from tests.labeled_sets import sound_set


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
