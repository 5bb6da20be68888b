import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspn.detectors.precomputed import BoxesFile
from mspn.detectors.simple import FullImage
from mspn.errors import AnnotationError
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image


def _boxes(tmp_path: Path, content: Any) -> BoxesFile:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    return BoxesFile(path)


def test_a_table_by_file_name_is_read_with_and_without_scores(tmp_path: Path):
    boxes = _boxes(tmp_path, {"a.jpg": [[1, 2, 3, 4, 0.5], [5, 6, 7, 8]]})

    assert boxes.find("a.jpg") == [Detection(Box(1, 2, 3, 4), 0.5), Detection(Box(5, 6, 7, 8), 1.0)]
    assert boxes.find("b.jpg") == []


def test_coco_results_are_found_by_the_number_in_the_file_name_and_only_people_count(tmp_path: Path):
    rows = [
        {"image_id": 36, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9},
        {"image_id": 36, "category_id": 18, "bbox": [5, 6, 7, 8], "score": 0.8},
    ]

    boxes = _boxes(tmp_path, rows)

    assert boxes.find("000000000036.jpg") == [Detection(Box(1, 2, 3, 4), 0.9)]
    assert boxes.find("image.jpg", image_id=36) == [Detection(Box(1, 2, 3, 4), 0.9)]


def test_images_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path):
    boxes = _boxes(tmp_path, {"a/1.jpg": [[1, 2, 3, 4]], "b/1.jpg": [[5, 6, 7, 8]]})

    assert boxes.find("photos/b/1.jpg") == [Detection(Box(5, 6, 7, 8), 1.0)]
    assert boxes.find("1.jpg") == []


def test_a_coco_annotation_file_serves_too_without_its_crowds(tmp_path: Path):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "annotations": [
            {"image_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"image_id": 7, "bbox": [0, 0, 99, 99], "iscrowd": 1},
        ],
    }

    assert _boxes(tmp_path, content).find("a.jpg") == [Detection(Box(1, 2, 3, 4), 1.0)]


@pytest.mark.parametrize("content", [[{"bbox": [1, 2, 3, 4]}], {"a.jpg": [[1, 2, 3]]}, {"a.jpg": [[1, 2, 3, "x"]]}, 5])
def test_other_content_is_refused_with_the_forms_that_are_understood(tmp_path: Path, content: Any):
    with pytest.raises(AnnotationError, match=r"is no boxes file .* write a COCO results list"):
        _boxes(tmp_path, content)


def test_the_papers_rule_leaves_people_among_the_best_100_boxes_of_all_categories(tmp_path: Path):
    def row(category: int, score: float) -> dict[str, Any]:
        return {"image_id": 1, "category_id": category, "bbox": [0, 0, 10, 10], "score": score}

    # 99 chairs score between the first and the second person; the third person is the 102nd box.
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([row(1, 0.1), row(1, 0.9), *(row(62, 0.5) for _ in range(99)), row(1, 0.3)]))

    assert [found.score for found in BoxesFile(path, "top-100").find("1.jpg", 1)] == [0.9]
    assert [found.score for found in BoxesFile(path).find("1.jpg", 1)] == [0.1, 0.9, 0.3]


def test_the_papers_rule_is_refused_where_there_are_people_alone(tmp_path: Path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.jpg": [[1, 2, 3, 4]]}))

    with pytest.raises(AnnotationError, match=r"has only boxes of people, .* use the rule people, or the detector's"):
        BoxesFile(path, "top-100")


def test_a_file_without_people_among_its_boxes_is_refused(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"none of its 1 boxes is of a person \(category_id 1\)"):
        _boxes(tmp_path, [{"image_id": 36, "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.9}])


def test_an_annotation_file_says_itself_which_category_people_are(tmp_path: Path):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "annotations": [
            {"image_id": 7, "bbox": [1, 2, 3, 4], "category_id": 5},
            {"image_id": 7, "bbox": [5, 6, 7, 8], "category_id": 1},
        ],
        "categories": [{"id": 1, "name": "horse"}, {"id": 5, "name": "person"}],
    }

    assert _boxes(tmp_path, content).find("a.jpg") == [Detection(Box(1, 2, 3, 4), 1.0)]


def test_the_whole_image_is_one_person_with_full_score():
    image = Image("a.jpg", np.zeros((30, 40, 3), np.uint8))

    assert FullImage().detect(image) == [Detection(Box(0, 0, 40, 30), 1.0)]
