import json
from pathlib import Path

import pytest

from mspn.detectors.base import FullImage
from mspn.evaluation.average_precision import read_ground_truth
from mspn.evaluation.detection_counts import CrowdCounts, count_crowds, count_detections, detect_people
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.boxes import Box, Detection
from mspn.structures.skeleton import COCO_17
from tests.drawn_people import write_drawn_set


@pytest.fixture
def ground_truth(tmp_path: Path) -> CocoPeople:
    """Two images of two people each, about 120 pixels high."""
    return read_ground_truth(write_drawn_set(tmp_path, num_images=2, people_per_image=2), COCO_17)


def boxes_of(ground_truth: CocoPeople, image_id: int) -> list[Box]:
    return [Box(*row.bbox) for row in ground_truth.annotations if row.image_id == image_id]


def test_matched_people_and_correct_boxes_are_counted_at_half_overlap(ground_truth: CocoPeople):
    first, second = boxes_of(ground_truth, 1)
    third, _fourth = boxes_of(ground_truth, 2)
    narrow = third._replace(width=0.4 * third.width)
    detections = {
        1: [Detection(first, 0.9), Detection(second, 0.2), Detection(Box(0, 0, 5, 5), 0.8)],
        2: [Detection(narrow, 0.9)],
    }

    counts = count_detections(ground_truth, detections, threshold=0.3)

    assert counts == (1, 4, 1, 3)
    assert counts.recall == 1 / 4
    assert counts.precision == 1 / 3


def test_a_box_on_an_unlabeled_person_is_correct(ground_truth: CocoPeople):
    stranger = Box(0, 0, 5, 5)

    counts = count_detections(ground_truth, {1: [Detection(stranger, 0.8)]}, threshold=0.3, unlabeled={1: [stranger]})

    assert counts == (0, 4, 1, 1)


def test_people_below_a_height_do_not_count(ground_truth: CocoPeople):
    assert count_detections(ground_truth, {}, threshold=0.3, min_height_px=100).people == 4
    assert count_detections(ground_truth, {}, threshold=0.3, min_height_px=200).people == 0


def test_a_person_is_matched_once(ground_truth: CocoPeople):
    first, _ = boxes_of(ground_truth, 1)
    twice = {1: [Detection(first, 0.9), Detection(first._replace(width=first.width - 1), 0.8)]}

    counts = count_detections(ground_truth, twice, threshold=0.3)

    # Both boxes are correct, but they match the same person.
    assert counts == (1, 4, 2, 2)


def test_neighbors_and_duplicates_are_counted(tmp_path: Path):
    # The second person stands half behind the first: 60 of 140 columns in common. The third is alone.
    people = [[0, 0, 100, 100], [40, 0, 100, 100], [300, 0, 100, 100]]
    rows = [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": box, "area": 10000, "iscrowd": 0}
        | {"keypoints": [0, 0, 0] * 17, "num_keypoints": 0}
        for number, box in enumerate(people, start=1)
    ]
    images = [{"id": 1, "file_name": "1.jpg", "width": 400, "height": 100}]
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints), "skeleton": []}]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    first, _, third = (Box(*box) for box in people)
    detections = {1: [Detection(first, 0.9), Detection(third, 0.9), Detection(third._replace(width=90), 0.5)]}

    counts = count_crowds(read_ground_truth(path, COCO_17), detections, threshold=0.3)

    assert counts == CrowdCounts(matched_people=1, people=2, duplicates=1)


def test_an_image_that_cannot_be_read_has_no_detections(ground_truth: CocoPeople, tmp_path: Path):
    (tmp_path / "images" / ground_truth.images[0].file_name).write_bytes(b"damaged")

    detections = detect_people(FullImage(), ground_truth, tmp_path / "images")

    assert detections == {2: [Detection(Box(0, 0, 240, 160), 1.0)]}
