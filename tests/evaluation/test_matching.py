import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mspn.evaluation.matching import UNMATCHED, match_people, pose_similarities
from mspn.structures.skeleton import COCO_17
from tests.evaluation.posed_people import AREA, SHOULDERS, ground_truth_of, labeled, predicted


def test_similarity_is_the_mean_over_labeled_keypoints(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS)])
    points = np.zeros((1, 17, 2))
    points[0, COCO_17.keypoints.index("left_shoulder")] = [200, 100]
    points[0, COCO_17.keypoints.index("right_shoulder")] = [100 + 15.8, 100]

    # 1 and exp(-1/2) = 0.6065.
    assert pose_similarities(ground_truth, np.array([0]), points, COCO_17)[0, 0] == pytest.approx(
        (1 + 0.60653) / 2, abs=1e-5
    )


def test_the_better_scored_prediction_takes_the_person_and_the_other_is_background(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS)])
    results = [predicted(1, SHOULDERS, 0.5), predicted(1, {**SHOULDERS, "left_shoulder": (205, 100, 1)}, 0.9)]

    matching = match_people(ground_truth, results, COCO_17)

    assert matching.person_of.tolist() == [UNMATCHED, 0]
    assert matching.is_background.tolist() == [True, False]
    assert matching.prediction_of.tolist() == [1]


def test_a_prediction_far_from_everyone_is_background_and_leaves_its_person_missed(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS)])
    results = [predicted(1, {"left_shoulder": (900, 900, 1), "right_shoulder": (800, 900, 1)}, 0.9)]

    matching = match_people(ground_truth, results, COCO_17)

    assert matching.is_background.tolist() == [True]
    assert matching.is_missed.tolist() == [True]


def test_predictions_of_crowds_and_of_people_without_labels_are_not_held_against_anyone(tmp_path: Path):
    crowd = labeled(1, 1, SHOULDERS, iscrowd=1)
    without_labels = labeled(2, 2, {}, bbox=[50, 50, 200, 200])
    ground_truth = ground_truth_of(tmp_path, [crowd, without_labels])
    inside = dict.fromkeys(COCO_17.keypoints, (100, 100, 1))
    results = [predicted(1, SHOULDERS, 0.9), predicted(1, SHOULDERS, 0.8), predicted(2, inside, 0.9)]

    matching = match_people(ground_truth, results, COCO_17)

    assert matching.person_of.tolist() == [UNMATCHED] * 3
    assert not matching.is_background.any()
    assert not matching.is_counted.any()


def test_only_twenty_predictions_of_an_image_count(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS)])
    far = dict.fromkeys(COCO_17.keypoints, (900, 900, 1))
    results = [predicted(1, far, 0.9)] * 20 + [predicted(1, SHOULDERS, 0.1)]

    matching = match_people(ground_truth, results, COCO_17)

    assert matching.is_background.sum() == 20
    assert matching.is_missed.all()


def test_pairs_are_those_of_pycocotools(tmp_path: Path):
    random = np.random.default_rng(0)
    people, results = [], []
    for number in range(1, 61):
        image_id = 1 + number % 12
        places = np.column_stack([random.uniform(0, 300, (17, 2)), random.integers(0, 3, 17)])
        places[:, 2] *= random.random() < 0.9
        area, box = random.uniform(0.2, 1) * AREA, random.uniform(50, 150, 4).tolist()
        labels = dict(zip(COCO_17.keypoints, places.tolist(), strict=True))
        visible = int((places[:, 2] > 0).sum())
        is_crowd = int(random.random() < 0.1)
        people.append(labeled(number, image_id, labels, area=area, bbox=box, iscrowd=is_crowd, num_keypoints=visible))
        for _ in range(random.integers(0, 4)):
            moved = places + random.normal(0, 12, (17, 3))
            points = dict(zip(COCO_17.keypoints, moved.tolist(), strict=True))
            results.append(predicted(image_id, points, float(random.random())))
    ground_truth = ground_truth_of(tmp_path, people)

    matching = match_people(ground_truth, results, COCO_17)

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "annotations.json"))
        evaluation = COCOeval(coco, coco.loadRes([dict(row) for row in results]), "keypoints")
        evaluation.params.iouThrs = np.array([0.1])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
    pairs = {}
    for image in evaluation.evalImgs:
        for row, number, ignored in zip(image["dtIds"], image["dtMatches"][0], image["dtIgnore"][0], strict=True):
            pairs[row - 1] = (UNMATCHED if ignored or number == 0 else int(number) - 1, number == 0)
    assert len(pairs) == len(results)
    assert {at: (int(matching.person_of[at]), bool(matching.is_background[at])) for at in pairs} == pairs
