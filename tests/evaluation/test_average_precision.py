import json
from pathlib import Path
from typing import Any

import pytest

from mspn.errors import AnnotationError
from mspn.evaluation.average_precision import (
    STATS,
    average_precision,
    box_average_precision,
    read_ground_truth,
    read_results,
)
from mspn.structures.boxes import Box, Detection
from mspn.structures.skeleton import COCO_17
from tests.drawn_people import write_drawn_set


def _truth_as_results(annotations: Path, shift: float = 0.0) -> list[dict[str, Any]]:
    rows = json.loads(annotations.read_text())["annotations"]
    moved = [[value + shift * (index % 3 == 0) for index, value in enumerate(row["keypoints"])] for row in rows]
    return [
        {"image_id": row["image_id"], "category_id": 1, "keypoints": keypoints, "score": 0.9}
        for row, keypoints in zip(rows, moved, strict=True)
    ]


def test_the_truth_itself_scores_one(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=2, people_per_image=2)

    stats = average_precision(read_ground_truth(annotations, COCO_17), _truth_as_results(annotations), COCO_17)

    # The figures are of medium size (under 96 x 96 pixels of area): there is no large person to find.
    assert stats == dict.fromkeys(STATS, 1.0) | {"APL": -1.0, "ARL": -1.0}


def test_half_the_people_found_is_half_the_recall(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=4)

    stats = average_precision(read_ground_truth(annotations, COCO_17), _truth_as_results(annotations)[:2], COCO_17)

    # Precision 1 up to a recall of 0.5: 51 of COCO's 101 recall points.
    assert stats["AR"] == pytest.approx(0.5)
    assert stats["AP"] == pytest.approx(51 / 101)


def test_nothing_found_scores_zero(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=1)

    # There is no large person to find.
    expected = dict.fromkeys(STATS, 0.0) | {"APL": -1.0, "ARL": -1.0}
    assert average_precision(read_ground_truth(annotations, COCO_17), [], COCO_17) == expected


def test_a_shift_costs_most_at_the_strict_thresholds(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=2)

    stats = average_precision(
        read_ground_truth(annotations, COCO_17), _truth_as_results(annotations, shift=5.0), COCO_17
    )

    assert stats["AP50"] == 1.0
    assert stats["AP"] < 1.0


def test_truth_in_another_keypoint_order_scores_the_same(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=2)
    results = _truth_as_results(annotations, shift=3.0)
    expected = average_precision(read_ground_truth(annotations, COCO_17), results, COCO_17)
    content = json.loads(annotations.read_text())
    content["categories"][0]["keypoints"].reverse()
    for row in content["annotations"]:
        triplets = [row["keypoints"][start : start + 3] for start in range(0, 51, 3)]
        row["keypoints"] = [number for triplet in reversed(triplets) for number in triplet]
    annotations.write_text(json.dumps(content))

    assert average_precision(read_ground_truth(annotations, COCO_17), results, COCO_17) == expected


def test_keypoints_that_the_truth_does_not_have_do_not_matter(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=1)
    results = _truth_as_results(annotations)
    results[0]["keypoints"][:3] = [9999, 9999, 1]
    content = json.loads(annotations.read_text())
    content["categories"][0]["keypoints"].pop(0)
    content["annotations"][0]["keypoints"][:3] = []
    annotations.write_text(json.dumps(content))

    assert average_precision(read_ground_truth(annotations, COCO_17), results, COCO_17)["AP"] == pytest.approx(1.0)


def _changed(tmp_path: Path, change: Any) -> Path:
    annotations = write_drawn_set(tmp_path / "set", num_images=1)
    content = json.loads(annotations.read_text())
    change(content)
    annotations.write_text(json.dumps(content))
    return annotations


def test_truth_in_a_format_other_than_cocos_is_refused(tmp_path: Path):
    (tmp_path / "export.xml").write_text("<annotations/>")

    with pytest.raises(AnnotationError, match=r"export\.xml is no COCO keypoint file.* --to coco` writes one$"):
        read_ground_truth(tmp_path / "export.xml", COCO_17)


def test_truth_without_what_is_needed_is_refused(tmp_path: Path):
    for number, (change, message) in enumerate(
        [
            (lambda content: content.pop("images"), "images: Field required"),
            (lambda content: content["annotations"][0].update(bbox=[9, 9, 0, 5], area=0), "annotation 1 has no area"),
            (lambda content: content["annotations"][0].update(keypoints=None), "has no annotation with keypoints"),
            (lambda content: content["annotations"].append(None), "annotations.1: Input should be a valid dictionary"),
        ]
    ):
        with pytest.raises(AnnotationError, match=message):
            read_ground_truth(_changed(tmp_path / str(number), change), COCO_17)


def test_results_of_an_image_that_the_truth_does_not_have_are_refused(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=1)
    (row,) = _truth_as_results(annotations)

    message = r"results of 1 images, image_id 99 the first, which are not among the 1 labeled ones \(1 to 1\)"
    with pytest.raises(AnnotationError, match=message):
        average_precision(read_ground_truth(annotations, COCO_17), [row | {"image_id": 99}], COCO_17)


def test_people_count_whatever_their_numbers(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=2)
    content = json.loads(annotations.read_text())
    for row in content["annotations"]:
        row["id"] = 0
    annotations.write_text(json.dumps(content))

    stats = average_precision(read_ground_truth(annotations, COCO_17), _truth_as_results(annotations), COCO_17)

    assert stats["AP"] == 1.0


def test_boxes_have_an_average_precision_of_their_own(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=2)
    ground_truth = read_ground_truth(annotations, COCO_17)
    boxes = {row.image_id: Box(*row.bbox) for row in ground_truth.annotations}
    exact = {image_id: [Detection(box, 0.5)] for image_id, box in boxes.items()}
    # Nine tenths of the width overlap by 0.9, which meets the nine thresholds up to 0.90 of the ten.
    narrow = {image_id: [Detection(box._replace(width=0.901 * box.width), 0.5)] for image_id, box in boxes.items()}

    assert box_average_precision(ground_truth, exact)["AP"] == pytest.approx(1.0)
    assert box_average_precision(ground_truth, narrow)["AP"] == pytest.approx(0.9)
    assert box_average_precision(ground_truth, {})["AP"] == 0.0
    assert box_average_precision(ground_truth, {1: [Detection(boxes[1], float("nan"))]})["AP"] == 0.0


def test_a_results_file_keeps_its_boxes_where_each_row_has_one(tmp_path: Path):
    path = tmp_path / "results.json"
    row = {"image_id": 1, "category_id": 1, "score": 1.0, "keypoints": [1.0] * 51}
    path.write_text(json.dumps([row | {"bbox": [1, 2, 3, 4]}]))
    (with_box,) = read_results(path, COCO_17)
    path.write_text(json.dumps([row | {"bbox": [1, 2, 3, 4]}, row]))

    assert with_box["bbox"] == (1, 2, 3, 4)
    assert read_results(path, COCO_17) == [row, row]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"the file: Input should be a valid list; it must be a COCO results list"),
        ([None], r"json: 0: Input should be a valid dictionary"),
        ([{"image_id": 1, "category_id": 1, "score": 1}], r"0\.keypoints: Field required"),
        ([{"image_id": 1, "category_id": 1, "score": None, "keypoints": [1] * 51}], r"0\.score: "),
        ([{"image_id": 1, "category_id": 1, "score": 1, "keypoints": [1, 2]}], r"row 0 has 2 keypoint numbers, not 51"),
        ([{"image_id": 1, "category_id": 1, "score": 1, "keypoints": [float("nan")] * 51}], r"keypoints\.0: .* finite"),
    ],
)
def test_results_files_of_another_form_are_refused(tmp_path: Path, content: Any, message: str):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))

    with pytest.raises(AnnotationError, match=message):
        read_results(path, COCO_17)


def test_results_in_shares_or_with_scores_in_percent_are_told(tmp_path: Path, caplog):
    path = tmp_path / "results.json"
    row = {"image_id": 1, "category_id": 1, "keypoints": [0.25, 0.75, 1] * 17, "score": 88}
    path.write_text(json.dumps([row]))

    read_results(path, COCO_17)

    assert "the coordinates of all keypoints lie between 0.25 and 0.75; pixels are expected" in caplog.text
    assert "scores reach 88" in caplog.text
