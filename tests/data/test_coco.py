import json
from pathlib import Path

import numpy as np
import pytest

from mspn.data.coco import read_coco as read
from mspn.data.coco import read_coco_people
from mspn.data.label_files import AnnotationError, read_json
from mspn.skeleton import COCO_17
from tests.coco_files import person, write_annotations

IMAGES = {7: "seven.jpg", 3: "three.jpg"}


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"no file at .*nowhere\.json; check the path"):
        read(tmp_path / "nowhere.json")


@pytest.mark.parametrize("content", [b"", b'{"images": [', b"\xff\xfe\x00"])
def test_a_file_that_is_no_json_is_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "people.json"
    path.write_bytes(content)

    with pytest.raises(AnnotationError, match=r"people\.json is not JSON \(.*\); is the file whole\?"):
        read_json(path)


@pytest.mark.parametrize(
    ("content", "missing"),
    [([], "the file"), ({"images": []}, "annotations"), ({"images": [], "annotations": []}, "categories")],
)
def test_json_of_another_kind_is_refused(content: object, missing: str, tmp_path: Path):
    path = tmp_path / "people.json"
    path.write_text(json.dumps(content))

    with pytest.raises(AnnotationError, match=rf"people\.json: {missing}: .*; it must be a COCO keypoint file"):
        read(path)


def test_a_file_without_keypoints_is_refused(tmp_path: Path):
    path = write_annotations(tmp_path / "boxes.json", [{"id": 1, "image_id": 7, "bbox": [0, 0, 5, 5]}], IMAGES)

    with pytest.raises(
        AnnotationError, match=r"boxes\.json has no annotation with keypoints; a keypoint file is needed"
    ):
        read(path)


def test_an_annotation_of_an_unknown_picture_is_read_for_the_check_but_not_for_evaluation(tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 99, {"nose": (1, 1, 2)})], IMAGES)

    assert read(path).people[0].picture_id == 99
    with pytest.raises(
        AnnotationError, match=r"people\.json: annotation of image_id 99, which is not among its images; see `mspn data"
    ):
        read_coco_people(path, COCO_17)


def test_a_keypoint_at_no_finite_position_is_read_for_the_check_but_not_for_evaluation(tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 7, {"nose": (float("nan"), 1, 2)})], IMAGES)

    assert np.isnan(read(path).people[0].keypoints_image[0, 0])
    with pytest.raises(AnnotationError, match=r"people\.json has a labelled keypoint whose position is not a finite"):
        read_coco_people(path, COCO_17)


def test_an_annotation_with_too_few_numbers_is_refused(tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(4, 7, {}, keypoints=[1, 2, 2])], IMAGES)

    with pytest.raises(AnnotationError, match=r"people\.json: annotation 4 has 3 keypoint numbers, not 3 x 17"):
        read(path)


@pytest.mark.parametrize("change", [{"bbox": None}, {"bbox": [1, 2, 3]}, {"image_id": None}, {"id": None}])
def test_an_annotation_without_what_coco_requires_is_named(change: dict, tmp_path: Path):
    annotation = person(4, 7, {"nose": (1, 1, 2)}) | change
    annotation = {key: value for key, value in annotation.items() if value is not None}
    path = write_annotations(tmp_path / "people.json", [annotation], IMAGES)

    with pytest.raises(AnnotationError, match=r"people\.json"):
        read(path)
