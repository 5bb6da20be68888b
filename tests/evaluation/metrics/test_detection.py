from pathlib import Path

import pytest

from mspn.detectors.base import FullImage
from mspn.evaluation.metrics.average_precision import read_ground_truth
from mspn.evaluation.metrics.detection import count_detections, detect_people
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.boxes import Box, Detection
from mspn.structures.skeletons import COCO_17
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


def test_an_image_that_cannot_be_read_has_no_detections(ground_truth: CocoPeople, tmp_path: Path):
    (tmp_path / "images" / ground_truth.images[0].file_name).write_bytes(b"damaged")

    detections = detect_people(FullImage(), ground_truth, tmp_path / "images")

    assert detections == {2: [Detection(Box(0, 0, 240, 160), 1.0)]}
