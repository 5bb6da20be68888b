import json
from pathlib import Path

import numpy as np
import pytest

from mspn.errors import AnnotationError
from mspn.labels.formats.coco import read_coco as read
from mspn.labels.formats.coco import read_coco_people, write_coco
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet
from mspn.labels.reading import read_json
from mspn.structures.boxes import Box
from mspn.structures.skeleton import Skeleton
from mspn.structures.skeletons import COCO_17
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


def test_evaluation_refuses_labels_without_one_keypoint_of_the_network(tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 7, {"nose": (1, 1, 2)})], IMAGES)
    kite = Skeleton(name="kite", keypoints=("top", "tail"))

    with pytest.raises(
        AnnotationError, match=r"people\.json labels nose, .*, none of which kite has \(top, tail\); is"
    ):
        read_coco_people(path, kite)


def test_an_annotation_of_an_unknown_image_is_read_for_the_check_but_not_for_evaluation(tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 99, {"nose": (1, 1, 2)})], IMAGES)

    assert read(path).people[0].image_id == 99
    with pytest.raises(
        AnnotationError, match=r"people\.json: annotation of image_id 99, which is not among its images; see `mspn data"
    ):
        read_coco_people(path, COCO_17)


def test_a_keypoint_at_no_finite_position_is_read_for_the_check_but_not_for_evaluation(tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 7, {"nose": (float("nan"), 1, 2)})], IMAGES)

    assert np.isnan(read(path).people[0].keypoints_image[0, 0])
    with pytest.raises(AnnotationError, match=r"people\.json has a labeled keypoint whose position is not a finite"):
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


def test_reading_and_writing_loses_nothing(tmp_path: Path):
    content = {
        "info": {"year": 2026},
        "licenses": [{"id": 4}],
        "images": [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100, "license": 4}],
        "annotations": [
            person(1, 7, {"nose": (11, 22.5, 2)}, area=30.25, segmentation=[[1, 2, 3, 4]]),
            person(2, 7, {"nose": (1, 2, 1)}, area=5, iscrowd=1, num_keypoints=9),
            {"id": 9, "image_id": 7, "category_id": 2, "bbox": [0, 0, 5, 5]},
        ],
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints), "skeleton": [[16, 14]]},
            {"id": 2, "name": "dog"},
        ],
    }
    path = tmp_path / "people.json"
    path.write_text(json.dumps(content))

    write_coco(read(path), tmp_path / "written.json")

    assert json.loads((tmp_path / "written.json").read_text()) == content


def test_labels_say_everything_that_the_file_says(tmp_path: Path):
    row = person(4, 7, {"nose": (11, 22, 2), "left_eye": (12, 23, 1)}, area=30.5, pose_id=8)

    labels = read(write_annotations(tmp_path / "people.json", [row], IMAGES))

    assert labels.skeleton is COCO_17
    assert [(image.id, image.file_name, image.size) for image in labels.images] == [
        (7, "seven.jpg", None),
        (3, "three.jpg", None),
    ]
    (somebody,) = labels.people
    assert (somebody.id, somebody.image_id, somebody.box, somebody.area) == (4, 7, Box(10, 20, 30, 60), 30.5)
    assert somebody.keypoints_image[:3].tolist() == [[11, 22, 2], [12, 23, 1], [0, 0, 0]]
    assert dict(somebody.extra) == {"pose_id": 8}


def test_keypoints_of_ones_own_keep_their_names_and_limbs(tmp_path: Path):
    row = person(1, 7, {}, keypoints=[1, 2, 2, 3, 4, 1])
    path = write_annotations(tmp_path / "kites.json", [row], IMAGES, ["top", "left_wrist"])
    content = json.loads(path.read_text())
    content["categories"][0] |= {"name": "kite", "skeleton": [[1, 2], [2, 3]]}
    path.write_text(json.dumps(content))

    labels = read(path)

    skeleton = labels.skeleton
    # There is no third keypoint. COCO's sigma stays with COCO's keypoint, others have the default.
    assert (skeleton.name, skeleton.keypoints) == ("kites", ("top", "left_wrist"))
    assert skeleton.limbs == (("top", "left_wrist"),)
    assert skeleton.sigmas == (0.079, 0.062)
    assert labels.category == "kite"


def test_a_keypoint_that_is_named_twice_is_refused(tmp_path: Path):
    row = person(1, 7, {}, keypoints=[1, 2, 2, 3, 4, 1])
    path = write_annotations(tmp_path / "kites.json", [row], IMAGES, ["top", "top"])

    with pytest.raises(AnnotationError, match=r"kites\.json: keypoints names 'top' twice; mend the names"):
        read(path)


def test_who_has_no_box_and_no_area_gets_them_from_the_keypoints(tmp_path: Path):
    keypoints = np.zeros((17, 3))
    keypoints[0], keypoints[1] = (10, 20, 2), (30, 60, 1)
    person_without = LabeledPerson(1, 1, keypoints, box=None)

    write_coco(LabeledSet(COCO_17, [LabeledImage(1, "a.jpg")], [person_without]), tmp_path / "a.json")

    # 20 x 40 pixels, and a tenth of 40 on each side: 28 x 48.
    (row,) = json.loads((tmp_path / "a.json").read_text())["annotations"]
    assert row["bbox"] == [6, 16, 28, 48]
    assert row["area"] == pytest.approx(0.53 * 28 * 48)
    assert (row["num_keypoints"], row["category_id"], row["iscrowd"]) == (2, 1, 0)
