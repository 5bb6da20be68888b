from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspn.evaluation.average_precision import average_precision, read_ground_truth
from mspn.evaluation.diagnosis import explain_low_ap, reorder
from mspn.labels.formats.coco import CocoAnnotation, CocoPeople
from mspn.structures.boxes import Box, Detection
from mspn.structures.skeleton import COCO_17
from tests.drawn_people import write_drawn_set

Rows = list[dict[str, Any]]


@pytest.fixture
def ground_truth(tmp_path: Path) -> CocoPeople:
    """Six images of two standing people each, 60 pixels wide and 120 high."""
    return read_ground_truth(write_drawn_set(tmp_path, num_images=6, people_per_image=2), COCO_17)


def _perfect(ground_truth: CocoPeople) -> Rows:
    return [
        {"image_id": person.image_id, "category_id": 1, "keypoints": keypoints.ravel().tolist(), "score": 0.9}
        for person, keypoints in zip(ground_truth.annotations, ground_truth.keypoints_image, strict=True)
    ]


def _moved(rows: Rows, change: Callable[[np.ndarray], np.ndarray]) -> Rows:
    points = [np.array(row["keypoints"]).reshape(17, 3) for row in rows]
    moved = [np.column_stack([change(values[:, :2]), values[:, 2]]) for values in points]
    return [row | {"keypoints": values.ravel().tolist()} for row, values in zip(rows, moved, strict=True)]


def _relabeled(ground_truth: CocoPeople, change: Callable[[CocoAnnotation], dict[str, Any]]) -> CocoPeople:
    return replace(ground_truth, annotations=[row.model_copy(update=change(row)) for row in ground_truth.annotations])


def _explain(ground_truth: CocoPeople, rows: Rows, boxes: dict[int, list[Detection]] | None = None) -> str:
    """The one reason that is given."""
    (reason,) = explain_low_ap(ground_truth, rows, COCO_17, average_precision(ground_truth, rows, COCO_17), boxes)
    return reason


def test_results_that_are_good_enough_need_no_explanation(ground_truth: CocoPeople):
    assert explain_low_ap(ground_truth, _perfect(ground_truth), COCO_17, {"AP": 0.05}) == []


def test_swapped_sides_are_named_with_what_they_cost(ground_truth: CocoPeople):
    reason = _explain(ground_truth, reorder(_perfect(ground_truth), COCO_17.mirror_order))

    assert reason == (
        "left and right are swapped in the results: with the sides exchanged, AP rises from 0.000 to 1.000"
        " (on 6 images)"
    )


def test_shuffled_keypoints_are_named_with_where_they_stand(ground_truth: CocoPeople):
    # Each keypoint stands one place later than it should, the last one first.
    reason = _explain(ground_truth, reorder(_perfect(ground_truth), [16, *range(16)]))

    assert "(nose is at index 1, left_eye is at index 2, right_eye is at index 3, ...): in" in reason
    assert "AP rises from 0.000 to 1.000" in reason


def test_openposes_order_is_known(ground_truth: CocoPeople):
    # In OpenPose's order the left eye is 14th and the left hip 10th, counted from 0.
    openpose = [0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]

    reason = _explain(ground_truth, reorder(_perfect(ground_truth), openpose))

    assert "(left_eye is at index 14, right_eye is at index 13, left_ear is at index 16, ..." in reason


@pytest.mark.parametrize(("factor", "written"), [(0.5, "times 2,"), (4.0, "times 0.25,")])
def test_a_scale_error_is_named_with_its_factor(ground_truth: CocoPeople, factor: float, written: str):
    reason = _explain(ground_truth, _moved(_perfect(ground_truth), lambda points: points * factor))

    assert f"the results' coordinates are off by a factor: {written} AP rises from 0.000 to 1.000" in reason


def test_coordinates_from_0_to_1_are_named(ground_truth: CocoPeople):
    reason = _explain(ground_truth, _moved(_perfect(ground_truth), lambda points: points / (240, 160)))

    assert reason == "the results' coordinates lie between 0 and 1; they must be pixels of the image"


def test_exchanged_axes_are_named(ground_truth: CocoPeople):
    reason = _explain(ground_truth, _moved(_perfect(ground_truth), lambda points: points[:, ::-1]))

    assert "the results give (y, x) in place of (x, y): with the two exchanged, AP rises from 0.000 to 1.000" in reason


def test_image_ids_that_are_off_by_one_are_named(ground_truth: CocoPeople):
    # People stand 100 pixels further to the right from image to image.
    shifts = np.array([[[100.0 * row.image_id, 0, 0]] for row in ground_truth.annotations])
    ground_truth = replace(ground_truth, keypoints_image=ground_truth.keypoints_image + shifts)
    rows = [row | {"image_id": row["image_id"] - 1} for row in _perfect(ground_truth) if row["image_id"] > 1]

    reason = _explain(ground_truth, rows)

    # Of the five images with results, four get their own back: 81 of 101 recall points.
    assert "the results' image ids are off by one: with +1, AP rises from 0.000 to 0.802" in reason


def test_results_of_images_that_show_nobody_are_named(ground_truth: CocoPeople):
    rows = [row for row in _perfect(ground_truth) if row["image_id"] == 6]
    ground_truth = replace(
        ground_truth, annotations=ground_truth.annotations[:10], keypoints_image=ground_truth.keypoints_image[:10]
    )

    assert "no result is of any of the 5 images with labeled people; do the image ids match?" in _explain(
        ground_truth, rows
    )


def test_results_of_few_images_are_named(ground_truth: CocoPeople):
    rows = _moved(_perfect(ground_truth)[:2], lambda points: points + 500)

    reasons = explain_low_ap(ground_truth, rows, COCO_17, average_precision(ground_truth, rows, COCO_17))

    assert reasons[0] == "there are results of 1 of the 6 images with labeled people"


def test_images_with_results_are_looked_at_though_the_first_have_none(
    ground_truth: CocoPeople, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mspn.evaluation.diagnosis._MAX_IMAGES", 1)
    rows = [row for row in reorder(_perfect(ground_truth), COCO_17.mirror_order) if row["image_id"] > 2]

    assert "left and right are swapped in the results" in _explain(ground_truth, rows)


def test_another_category_id_is_named(ground_truth: CocoPeople):
    rows = [row | {"category_id": 0} for row in _perfect(ground_truth)]

    assert _explain(ground_truth, rows) == "no result has the labels' category_id 1; they have [0]"
    some = [*rows[:10], *_moved(_perfect(ground_truth)[10:], lambda points: points + 500)]
    reasons = explain_low_ap(ground_truth, some, COCO_17, average_precision(ground_truth, some, COCO_17))
    assert "10 of 12 results have another category_id than the labels' 1" in reasons


def test_a_correction_that_leaves_ap_low_is_no_cause(ground_truth: CocoPeople):
    # One of the twelve people is right but for swapped sides; the others are far off.
    rows = reorder(_perfect(ground_truth), COCO_17.mirror_order)
    rows = [*rows[:1], *_moved(rows[1:], lambda points: points + 500)]
    reasons = explain_low_ap(ground_truth, rows, COCO_17, average_precision(ground_truth, rows, COCO_17))

    assert not any("AP rises" in reason for reason in reasons)


def test_absurd_areas_are_named(ground_truth: CocoPeople):
    rows = _moved(_perfect(ground_truth), lambda points: points + 0.5)
    ground_truth = _relabeled(ground_truth, lambda row: {"area": 0.001})

    assert "of their boxes, where about 0.53 is usual: with that, AP rises from 0.000 to" in _explain(
        ground_truth, rows
    )


def test_labeled_boxes_that_are_corners_are_named(ground_truth: CocoPeople):
    rows = _moved(_perfect(ground_truth), lambda points: points + 40)  # what a network makes of wrong crops
    ground_truth = _relabeled(
        ground_truth, lambda row: {"bbox": (*row.bbox[:2], row.bbox[0] + row.bbox[2], row.bbox[1] + row.bbox[3])}
    )

    reasons = explain_low_ap(ground_truth, rows, COCO_17, average_precision(ground_truth, rows, COCO_17))

    assert (
        "the labels' boxes: in 100% of the boxes the third and fourth number are where the keypoints end: they look"
        " like [left, top, right, bottom]"
    ) in reasons


def test_wide_labeled_boxes_are_not_taken_for_corners(ground_truth: CocoPeople):
    # Twice as wide and high as the person, which is in its upper left quarter.
    rows = _moved(_perfect(ground_truth), lambda points: points + 200)
    ground_truth = _relabeled(ground_truth, lambda row: {"bbox": (*row.bbox[:2], 2 * row.bbox[2], 2 * row.bbox[3])})

    reasons = explain_low_ap(ground_truth, rows, COCO_17, average_precision(ground_truth, rows, COCO_17))

    assert not any("boxes" in reason for reason in reasons)


def _boxes(ground_truth: CocoPeople, change: Callable[[Box], Box]) -> dict[int, list[Detection]]:
    found: dict[int, list[Detection]] = {}
    for row in ground_truth.annotations:
        found.setdefault(row.image_id, []).append(Detection(change(Box(*row.bbox)), 0.9))
    return found


def test_detected_boxes_that_are_corners_are_named(ground_truth: CocoPeople):
    rows = _moved(_perfect(ground_truth), lambda points: points + 200)
    corners = _boxes(ground_truth, lambda box: Box(box.left, box.top, box.left + box.width, box.top + box.height))

    reason = _explain(ground_truth, rows, corners)

    assert "the detected boxes are [left, top, right, bottom], and must be [left, top, width, height]" in reason
    assert "as corners by 1.00" in reason


def test_detected_boxes_of_other_places_or_images_are_named(ground_truth: CocoPeople):
    rows = _moved(_perfect(ground_truth), lambda points: points + 200)
    elsewhere = _boxes(ground_truth, lambda box: box._replace(left=box.left + 500))

    assert "the detected boxes overlap the labeled ones by 0.00 only" in _explain(ground_truth, rows, elsewhere)
    assert "none of the detected boxes is in an image with labeled people" in _explain(ground_truth, rows, {99: []})


def test_labels_with_nobody_to_find_are_named(ground_truth: CocoPeople):
    rows = _perfect(ground_truth)
    crowds = _relabeled(ground_truth, lambda row: {"iscrowd": int(row.id <= 4)})
    unlabeled = replace(crowds, keypoints_image=crowds.keypoints_image * (1, 1, 0))
    unlabeled = _relabeled(unlabeled, lambda row: {"num_keypoints": 0})

    assert average_precision(unlabeled, rows, COCO_17)["AP"] == -1
    assert "no people to match: of 12 people 4 are crowds and 8 have no labeled keypoint" in _explain(unlabeled, rows)


def test_people_whom_num_keypoints_hides_are_named(ground_truth: CocoPeople):
    hidden = _relabeled(ground_truth, lambda row: {"num_keypoints": 0})

    assert average_precision(hidden, _perfect(ground_truth), COCO_17)["AP"] == -1
    assert "num_keypoints is 0 for all of 12 people with labeled keypoints" in _explain(hidden, _perfect(ground_truth))


def test_no_results_are_named(ground_truth: CocoPeople):
    assert _explain(ground_truth, []) == "there are no results"


def test_equal_scores_are_named(ground_truth: CocoPeople):
    wrong = _moved(_perfect(ground_truth) * 9, lambda points: points + 500)
    rows = [row | {"score": 1.0} for row in [*wrong, *_perfect(ground_truth)[:1]]]

    assert "all results have the score 1, so they cannot be ranked" in _explain(ground_truth, rows)


def test_reversed_scores_are_named(ground_truth: CocoPeople):
    wrong = [row | {"score": 0.9} for row in _moved(_perfect(ground_truth) * 30, lambda points: points + 500)]
    right = [row | {"score": 0.1} for row in _perfect(ground_truth)]

    # The 20 best results of each image are all wrong.
    assert "the results' scores are reversed: with the lowest first, AP rises from 0.000 to 1.000" in _explain(
        ground_truth, [*wrong, *right]
    )


def test_where_nothing_known_explains_it_the_share_of_people_with_a_result_near_them_is_told(ground_truth: CocoPeople):
    random = np.random.default_rng(5)

    def scattered(points: np.ndarray) -> np.ndarray:
        return points.min(0) + random.uniform(0, 1, points.shape) * np.ptp(points, axis=0)

    near = _explain(ground_truth, _moved(_perfect(ground_truth), scattered))
    far = _explain(ground_truth, _moved(_perfect(ground_truth), lambda points: points + random.uniform(300, 900, 2)))

    assert near.startswith("no usual cause found: 100% of the labeled people have a result in the same region; is")
    assert far.startswith("no usual cause found: 0% of the labeled people")
