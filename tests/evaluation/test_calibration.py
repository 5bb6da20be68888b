import math
from dataclasses import fields, replace

import numpy as np
import pytest

from mspn.errors import AnnotationError
from mspn.evaluation.calibration import JudgedKeypoints, fit_calibration, judge_people
from mspn.labels.label_set import LabeledSet
from mspn.structures.skeleton import COCO_17
from tests.labeled_sets import sound_set, with_keypoints, with_person

NOSE, EYES, HIPS = 0, [1, 2], [11, 12]


def _rows(labels: LabeledSet, moved_px: float, score: float = 0.5) -> list[dict[str, object]]:
    """Predictions that lie to the right of the labels."""
    return [
        {
            "annotation_id": person.id,
            "keypoints": (person.keypoints_image * [1, 1, 0] + [moved_px, 0, score]).ravel().tolist(),
        }
        for person in labels.people
    ]


def _judged(scores: np.ndarray, is_good: np.ndarray, columns: list[int]) -> JudgedKeypoints:
    """People of whom only these keypoints are labeled."""
    shape = (len(scores), 17)
    judged = JudgedKeypoints(np.zeros((*shape, 2)), np.zeros(shape), np.zeros(shape, bool), np.zeros(shape))
    judged.scores[:, columns], judged.similarity[:, columns] = scores[:, None], is_good[:, None]
    judged.is_labeled[:, columns] = True
    return judged


def _join(*parts: JudgedKeypoints) -> JudgedKeypoints:
    names = (field.name for field in fields(JudgedKeypoints))
    return JudgedKeypoints(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def test_a_keypoint_is_good_within_the_distance_of_similarity_085():
    labels = sound_set()
    # Of an area of 6000 and a nose's sigma of 0.026: 2 * 0.026 * sqrt(-2 ln 0.85 * 6000) = 2.296 pixels.
    near, far = (judge_people(labels, _rows(labels, moved), COCO_17) for moved in (2.29, 2.30))

    assert near.is_good[:, NOSE].all()
    assert not far.is_good[:, NOSE].any()
    assert far.is_good[:, HIPS].all()  # their sigma is 0.107


def test_unlabeled_keypoints_and_crowds_are_not_judged():
    labels = with_person(with_keypoints(sound_set(), 1, {"nose": (0, 0, 0)}), 2, is_crowd=True)

    judged = judge_people(labels, _rows(labels, 0.0), COCO_17)

    assert judged.is_labeled.shape == (11, 17)
    assert judged.is_labeled.sum() == 11 * 17 - 1
    assert not judged.is_good[0, NOSE]


def test_people_without_any_keypoint_of_the_network_are_refused():
    labels = sound_set()
    people = [replace(person, keypoints_image=np.zeros((17, 3))) for person in labels.people]

    with pytest.raises(AnnotationError, match="nobody of the 12 labeled people has a keypoint of coco-17"):
        judge_people(replace(labels, people=people), _rows(labels, 0.0), COCO_17)


def test_the_expected_error_is_of_labeled_keypoints_alone():
    labels = with_keypoints(sound_set(), 1, {"nose": (0, 0, 0)})

    # All 203 labeled keypoints are good, and have a score of 0.75.
    assert judge_people(labels, _rows(labels, 0.0, score=0.75), COCO_17).compare().expected_error == pytest.approx(0.25)


def test_scores_become_the_share_of_good_keypoints_of_their_kind():
    # Of noses with a peak of 0.5, three of four are good; of eyes, one of four.
    half = np.full(4000, 0.5)
    quarters = np.arange(4000) % 4
    judged = _join(_judged(half, quarters > 0, [NOSE]), _judged(half, quarters == 0, EYES))

    scores = fit_calibration(judged, COCO_17, shift=0.0).scores(np.full((1, 17), 0.5))[0]

    np.testing.assert_allclose(scores[[NOSE, *EYES]], [0.75, 0.25, 0.25], atol=2e-3)


def test_the_slope_is_that_of_the_log_odds():
    # Odds of good noses are 16 at a peak of 0.8, whose own odds are 4, and 1/16 at a peak of 0.2.
    peaks = np.repeat([0.8, 0.2], 3400)
    is_good = np.concatenate([np.arange(3400) % 17 > 0, np.arange(3400) % 17 == 0])

    calibration = fit_calibration(_judged(peaks, is_good, [NOSE]), COCO_17, shift=0.0)

    assert calibration.slope == pytest.approx(2.0, abs=0.01)
    assert calibration.people == 6800


def test_a_kind_without_labels_is_scored_as_the_mean_of_the_others():
    peaks = np.full(400, 0.5)
    judged = _join(_judged(peaks, np.arange(400) % 4 > 0, [NOSE]), _judged(peaks, np.arange(400) % 4 == 0, [EYES[0]]))

    scores = fit_calibration(judged, COCO_17, shift=0.0).scores(np.full((1, 17), 0.5))[0]

    np.testing.assert_allclose(scores[HIPS], 0.5, atol=1e-6)


def test_a_shift_is_added_to_all_log_odds():
    judged = _judged(np.full(400, 0.5), np.arange(400) % 4 > 0, [NOSE])

    plain, shifted = (fit_calibration(judged, COCO_17, shift=shift) for shift in (0.0, -0.25))

    assert shifted.slope == plain.slope
    np.testing.assert_allclose(np.subtract(shifted.offsets, plain.offsets), -0.25)


def test_keypoints_that_are_all_good_have_finite_offsets():
    calibration = fit_calibration(_judged(np.full(5000, 0.9), np.ones(5000, bool), [NOSE]), COCO_17, shift=0.0)

    assert all(map(math.isfinite, calibration.offsets))
    assert calibration.scores(np.full((1, 17), 0.9))[0, NOSE] > 0.99


def test_labels_that_say_nothing_are_refused():
    few = _judged(np.full(99, 0.5), np.ones(99, bool), [NOSE])
    reversed_ = _judged(np.repeat([0.9, 0.1], 100), np.repeat([False, True], 100), [NOSE])

    with pytest.raises(AnnotationError, match="only 99 keypoints are labeled; calibration needs 100"):
        fit_calibration(few, COCO_17, shift=0.0)
    with pytest.raises(AnnotationError, match="higher peaks of the heat maps are right less often"):
        fit_calibration(reversed_, COCO_17, shift=0.0)
