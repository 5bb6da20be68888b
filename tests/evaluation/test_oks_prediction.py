import numpy as np
import pytest

from mspn.config.protocol import pose_features
from mspn.errors import AnnotationError
from mspn.evaluation.calibration import JudgedKeypoints
from mspn.evaluation.oks_prediction import fit_oks_predictor
from mspn.structures.skeleton import COCO_17

ORDER = COCO_17.mirror_order


def _people(num_people: int, seed: int, *, has_faces: bool = True) -> JudgedKeypoints:
    """Poses whose peaks tell nothing: those with the wrists below the ankles (y) are wrong, the others right."""
    rng = np.random.default_rng(seed)
    keypoints = rng.normal(0, 10, (num_people, 17, 2))
    is_wrong = keypoints[:, [9, 10], 1].mean(1) > keypoints[:, [15, 16], 1].mean(1)
    is_labeled = rng.random((num_people, 17)) < 0.7
    is_labeled[:, 5] = True
    is_labeled[:, :5] &= has_faces
    similarity = np.where(is_wrong, 0.2, 0.9)[:, None] * is_labeled
    return JudgedKeypoints(keypoints, rng.uniform(0.4, 0.6, (num_people, 17)), is_labeled, similarity)


def test_it_learns_from_places_which_poses_are_right_and_takes_mirrored_ones_alike():
    predictor = fit_oks_predictor([_people(3000, 1), _people(1000, 2, has_faces=False)], COCO_17)
    unseen = _people(500, 3)

    oks = predictor.predict(unseen.keypoints_image, unseen.scores, ORDER)

    is_right = unseen.similarity.max(1) > 0.5
    assert predictor.people == 4000
    assert ((oks > 0.55) == is_right).mean() > 0.9
    mirrored = unseen.keypoints_image[:, list(ORDER)] * [-1, 1]
    np.testing.assert_allclose(predictor.predict(mirrored, unseen.scores[:, list(ORDER)], ORDER), oks)


def test_keypoints_that_a_set_never_labels_do_not_count_as_unlabeled():
    # Half of the people are of a set without faces. Where faces can be labeled, seven in ten are.
    predictor = fit_oks_predictor([_people(1000, 1), _people(1000, 2, has_faces=False)], COCO_17)

    values = pose_features(*(getattr(_people(200, 4), name) for name in ("keypoints_image", "scores")))
    for index, layer in enumerate(predictor.layers):
        values = (values.clip(min=0) if index else values) @ np.transpose(layer.weights) + layer.biases
    labeled = 1 / (1 + np.exp(-values[:, :17].mean(0)))
    np.testing.assert_allclose(labeled[:5], 0.7, atol=0.1)
    np.testing.assert_allclose(labeled[7:], 0.7, atol=0.1)


def test_the_same_people_give_the_same_predictor():
    people = _people(200, 1)

    assert fit_oks_predictor([people], COCO_17) == fit_oks_predictor([people], COCO_17)


def test_too_few_people_are_refused():
    with pytest.raises(AnnotationError, match="only 99 people are labeled; 100 are needed, better thousands"):
        fit_oks_predictor([_people(60, 1), _people(39, 2)], COCO_17)
