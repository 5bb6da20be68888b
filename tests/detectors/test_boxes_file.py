import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspn.detectors.base import FullImage
from mspn.detectors.precomputed import BoxesFile
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


@pytest.mark.parametrize("name", ["/photos/1.jpg", "http://host/1.jpg", "photos/1.jpg"])
def test_images_may_be_named_as_the_run_names_them(name: str, tmp_path: Path):
    boxes = _boxes(tmp_path, {name: [[1, 2, 3, 4]], "1.jpg": [[5, 6, 7, 8]]})

    assert boxes.find(name) == [Detection(Box(1, 2, 3, 4), 1.0)]
    assert boxes.find("elsewhere/1.jpg") == [Detection(Box(5, 6, 7, 8), 1.0)]


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
    with pytest.raises(AnnotationError, match=r"it must be a COCO results list, a COCO annotation file, or"):
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
    with pytest.raises(AnnotationError, match=r"none of its 1 boxes is of category 1; --category names another"):
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


def _annotations(*names: str | None) -> dict[str, Any]:
    """A box for each category, one above the other."""
    return {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [
            {"image_id": 1, "category_id": number, "bbox": [0, 10 * number, 5, 5]}
            for number in range(1, len(names) + 1)
        ],
    }


def test_people_are_told_from_other_categories_by_their_names_in_any_case(tmp_path: Path):
    assert [found.box.top for found in _boxes(tmp_path, _annotations("bicycle", "Person")).find("a.jpg")] == [20]
    assert [found.box.top for found in _boxes(tmp_path, _annotations(None, None)).find("a.jpg")] == [10]


def test_where_no_category_is_of_people_one_must_be_chosen(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"no category 'person'; it has bicycle, fish: choose with --category"):
        _boxes(tmp_path, _annotations("bicycle", "fish"))

    for category in ("Fish", "2"):
        boxes = BoxesFile(tmp_path / "boxes.json", category=category)
        assert [found.box.top for found in boxes.find("a.jpg")] == [20]


@pytest.mark.parametrize(
    "content",
    [
        [{"image_id": 1, "bbox": [10**400, 0, 1, 1]}],
        {"images": [{"id": {}, "file_name": "a"}], "annotations": [], "categories": []},
        {"images": [], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]},
    ],
)
def test_impossible_values_are_one_line(tmp_path: Path, content: Any):
    with pytest.raises(AnnotationError, match=r"boxes\.json: "):
        _boxes(tmp_path, content)


def test_boxes_in_shares_and_scores_in_percent_are_told(tmp_path: Path, caplog):
    _boxes(tmp_path, {"a.jpg": [[0.3, 0.2, 0.4, 0.7, 0.9]]})
    assert "boxes.json: the coordinates of all boxes lie between 0.2 and 0.7; pixels are expected" in caplog.text

    caplog.clear()
    _boxes(tmp_path, {"a.jpg": [[30, 20, 40, 70, 97]]})
    assert "boxes.json: scores reach 97: they look like percent, not 0 to 1" in caplog.text


def test_boxes_by_their_corners_are_told_once_an_image_shows_it(tmp_path: Path, caplog):
    image = Image("a.jpg", np.zeros((240, 200, 3), np.uint8))
    # As left, top, width and height it would end at (310, 370).
    boxes = _boxes(tmp_path, {"a.jpg": [[120, 150, 190, 220]]})

    for _ in range(2):
        boxes.detect(image)

    assert caplog.text.count("100% of the boxes reach beyond the image: they look like [left, top, right, bott") == 1


def test_a_box_of_somebody_whom_the_image_cuts_off_is_none_of_corners(tmp_path: Path, caplog):
    _boxes(tmp_path, {"a.jpg": [[150, 20, 90, 200]]}).detect(Image("a.jpg", np.zeros((240, 200, 3), np.uint8)))

    assert not caplog.records


def test_results_are_of_category_1_unless_another_number_is_chosen(tmp_path: Path):
    (tmp_path / "boxes.json").write_text(
        json.dumps([{"image_id": 1, "category_id": number, "bbox": [0, number, 5, 5]} for number in (1, 18)])
    )

    for category, top in (("kite", 1), ("18", 18)):
        assert [found.box.top for found in BoxesFile(tmp_path / "boxes.json", category=category).find("1.jpg")] == [top]
