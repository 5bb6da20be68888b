from pathlib import Path
from typing import Any

import pytest

from mspn.evaluation.analysis import estimate_gains, evaluate_groups, judge_keypoints
from mspn.evaluation.average_precision import average_precision
from mspn.evaluation.matching import match_people
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.skeleton import COCO_17
from tests.evaluation.posed_people import SHOULDERS, ground_truth_of, labeled, predicted

FAR = dict.fromkeys(COCO_17.keypoints, (900.0, 900.0, 1.0))


def _gains(ground_truth: CocoPeople, results: list[dict[str, Any]]) -> dict[str, float]:
    matching = match_people(ground_truth, results, COCO_17)
    return estimate_gains(ground_truth, results, matching, judge_keypoints(ground_truth, matching, COCO_17), COCO_17)


def test_mending_a_keypoint_gains_what_its_person_lacked(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS)])
    # Similarities 1 and 0.607, mean 0.803: right at 7 of the 10 thresholds, 0.50 to 0.80.
    results = [predicted(1, {**SHOULDERS, "right_shoulder": (115.8, 100, 1)}, 0.9)]

    gains = _gains(ground_truth, results)

    assert average_precision(ground_truth, results, COCO_17)["AP"] == pytest.approx(0.7)
    assert gains.pop("jitter") == pytest.approx(0.3)
    assert set(gains.values()) == {0.0}


def test_an_inversion_is_told_from_a_miss(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS), labeled(2, 2, SHOULDERS)])
    inverted = {**SHOULDERS, "right_shoulder": (200, 100, 1)}
    missed = {**SHOULDERS, "right_shoulder": (100, 300, 1)}
    results = [predicted(1, inverted, 0.9), predicted(2, missed, 0.8)]

    gains = _gains(ground_truth, results)

    # One of two shoulders right is a similarity of one half plus next to nothing: right at the lowest threshold. The
    # mended person comes first with the inversion gone (51 of 101 recalls at the other nine thresholds), second with
    # the miss gone (precision one half there).
    assert gains["inversion"] == pytest.approx(0.9 * 51 / 101)
    assert gains["miss"] == pytest.approx(0.9 * 51 / 101 / 2)
    assert gains["jitter"] == gains["swap"] == 0


def test_background_and_the_order_of_scores_cost_precision(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS)])
    results = [predicted(1, FAR, 0.9), predicted(1, SHOULDERS, 0.5)]

    gains = _gains(ground_truth, results)

    # The person is the second of two predictions: precision one half.
    assert gains["background"] == pytest.approx(0.5)
    assert gains["order"] == pytest.approx(0.5)


def test_people_without_a_prediction_cost_recall(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS), labeled(2, 2, SHOULDERS)])

    gains = _gains(ground_truth, [predicted(1, SHOULDERS, 0.9)])

    # 51 of COCO's 101 recall points are reached with one of two people.
    assert gains["missed"] == pytest.approx(1 - 51 / 101)


def test_nobody_would_be_left_where_all_are_missed(tmp_path: Path):
    ground_truth = ground_truth_of(tmp_path, [labeled(1, 1, SHOULDERS)])

    assert _gains(ground_truth, [predicted(1, FAR, 0.9)])["missed"] == 0
    assert set(_gains(ground_truth, []).values()) == {0.0}


def test_each_group_has_its_people_and_their_predictions(tmp_path: Path):
    six = {name: (100 + 40 * index, 100, 2) for index, name in enumerate(COCO_17.keypoints[5:11])}
    ground_truth = ground_truth_of(
        tmp_path, [labeled(1, 1, SHOULDERS), labeled(2, 2, six, area=50.0**2), labeled(3, 3, six)]
    )
    nobody = dict.fromkeys(COCO_17.keypoints, (900, 900, 1))
    # The person with two labels is found, one of the two with six is.
    results = [predicted(1, SHOULDERS, 0.9), predicted(2, six, 0.8), predicted(3, nobody, 0.95)]

    rows = evaluate_groups(ground_truth, results, match_people(ground_truth, results, COCO_17), COCO_17)

    assert [(row.quality, row.name, row.people, row.AP) for row in rows] == [
        ("labeled keypoints", "1 to 5", 1, pytest.approx(1.0)),
        ("labeled keypoints", "6 to 10", 2, pytest.approx(51 / 101)),
        ("overlap of boxes", "below 0.1", 3, pytest.approx(67 / 101)),
        ("size", "32 to 64 px", 1, pytest.approx(1.0)),
        ("size", "96 to 192 px", 2, pytest.approx(51 / 101)),
    ]


def test_boxes_overlap_by_intersection_over_union(tmp_path: Path):
    # 100 x 100 boxes, the second 50 px to the right: 5000 / 15000; the third apart; a crowd's box does not count.
    boxes = [[0, 0, 100, 100], [50, 0, 100, 100], [300, 0, 100, 100], [300, 0, 100, 100]]
    people = [labeled(number, 1, SHOULDERS, bbox=box) for number, box in enumerate(boxes, start=1)]
    people[3]["iscrowd"] = 1
    ground_truth = ground_truth_of(tmp_path, people)

    rows = evaluate_groups(ground_truth, [], match_people(ground_truth, [], COCO_17), COCO_17)

    names = {row.name: row.people for row in rows if row.quality == "overlap of boxes"}
    assert names == {"below 0.1": 1, "0.1 to 0.5": 2}
