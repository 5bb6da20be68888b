from pathlib import Path

import pytest

from mspn.evaluation.analysis.groups import evaluate_groups
from mspn.evaluation.matching import match_people
from mspn.structures.skeletons import COCO_17
from tests.evaluation.posed_people import SHOULDERS, ground_truth_of, labeled, predicted


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
