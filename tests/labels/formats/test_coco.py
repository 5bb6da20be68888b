import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mspn.errors import AnnotationError
from mspn.labels.formats.coco import read_coco as read
from mspn.labels.formats.coco import read_coco_people, write_coco
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet
from mspn.labels.reading import read_json
from mspn.structures.boxes import Box
from mspn.structures.skeleton import COCO_17, Skeleton
from tests.coco_files import person, write_annotations
from tests.labels.label_sets import two_people

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
        AnnotationError,
        match=r"people\.json labels 0 of kite's 2 keypoints; it labels nose, .*, which kite does",
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


@pytest.mark.parametrize("change", [{"bbox": [1, 2, 3]}, {"image_id": None}, {"id": None}])
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


def test_who_has_no_box_gets_the_one_around_the_keypoints_and_no_area_that_of_the_box(tmp_path: Path, caplog):
    # Keypoints from (10, 20) to (20, 40), grown by a tenth of 20 on each side: 14 x 24 pixels.
    labeled = {"nose": (10, 20, 2), "left_ankle": (20, 40, 2)}
    rows = [person(number, 7, labeled) for number in (1, 2, 3)]
    del rows[0]["bbox"]
    rows[1] |= {"bbox": [], "area": 50}
    rows[2] |= {"bbox": [0, 0, 10, 10], "area": 0}
    path = write_annotations(tmp_path / "people.json", rows, IMAGES)

    people = read_coco_people(path, COCO_17).annotations

    assert [row.bbox for row in people] == [(8, 18, 14, 24), (8, 18, 14, 24), (0, 0, 10, 10)]
    assert [row.area for row in people] == [pytest.approx(0.53 * 14 * 24), 50, pytest.approx(53)]
    assert "2 people without an area above 0" in caplog.text
    assert [row.box for row in read(path).people] == [None, None, Box(0, 0, 10, 10)]


@pytest.mark.parametrize("keypoints", [[], None])
def test_a_box_without_keypoints_is_nobody(keypoints: object, tmp_path: Path):
    rows = [person(1, 7, {"nose": (1, 1, 2)}), person(2, 7, {}, keypoints=keypoints)]
    path = write_annotations(tmp_path / "people.json", rows, IMAGES)

    assert [row.id for row in read(path).people] == [1]


def test_null_and_numbers_as_text_are_read_as_what_they_stand_for(tmp_path: Path):
    row = person(1, 7, {"nose": (1, 1, 2)}, id="1", iscrowd=None, area=None, num_keypoints=None, category_id=None)
    path = write_annotations(tmp_path / "people.json", [row], IMAGES)
    content = json.loads(path.read_text())
    content["categories"][0] |= {"id": "1", "skeleton": None, "name": None}
    content["images"][0] |= {"width": 0, "height": 0}
    path.write_text(json.dumps(content))

    labels = read(path)

    assert (labels.people[0].id, labels.people[0].is_crowd, labels.images[0].size) == (1, False, None)


@pytest.mark.parametrize(
    ("entry", "change", "message"),
    [
        ("images", {"id": 2**63}, r"images\.0\.id: Input should be less than 9223372036854775808"),
        ("images", {"width": 10**30, "height": 5}, "image 7: a side of 1e[+]30 pixels"),
        ("images", {"width": -4, "height": 5}, "image 7: a side of -4 pixels"),
        ("images", {"file_name": "a\0b.jpg"}, r"images\.0\.file_name: the text has a letter that no file can hold"),
        ("images", {"file_name": "\ud800.jpg"}, r"images\.0\.file_name: Input should be a valid string"),
        ("images", {"file_name": ""}, r"images\.0\.file_name: String should have at least 1 char"),
        ("annotations", {"image_id": 2**70}, r"annotations\.0\.image_id: Input should be less than"),
        ("annotations", {"bbox": [10**400, 0, 1, 1]}, r"annotations\.0\.bbox\.0: Input should be a valid number"),
        ("annotations", {"keypoints": [10**400] * 51}, r"annotations\.0\.keypoints\.0: Input should be a valid number"),
        ("categories", {"skeleton": 5}, r"categories\.0\.skeleton: Input should be a valid list"),
        ("categories", {"id": {}}, r"categories\.0\.id: Input should be a valid integer"),
        ("categories", {"keypoints": ["a\udc00"] * 17}, r"categories\.0\.keypoints\.0: the text has a letter"),
    ],
)
def test_an_impossible_value_is_one_line(entry: str, change: dict, message: str, tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 7, {"nose": (1, 1, 2)})], {7: "seven.jpg"})
    content = json.loads(path.read_text())
    content[entry][0] |= change
    path.write_text(json.dumps(content))

    with pytest.raises(AnnotationError, match=rf"people\.json: {message}"):
        read(path)


@pytest.mark.parametrize("extra", [{"other_annotations": 5}, {"other_annotations": [5]}, {"names": 5}])
def test_a_field_that_only_looks_like_ours_is_not_trusted(extra: dict, tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 7, {"nose": (1, 1, 2)})], IMAGES)
    path.write_text(json.dumps(json.loads(path.read_text()) | extra))

    write_coco(read(path), tmp_path / "copy.json")

    assert len(json.loads((tmp_path / "copy.json").read_text())["annotations"]) == 1


CATEGORIES = [
    {"id": 1, "name": "bicycle"},
    {"id": 2, "name": "adult", "keypoints": list(COCO_17.keypoints)},
    {"id": 3, "name": "dog", "keypoints": ["nose", "tail"]},
    {"id": 4, "name": "Child", "keypoints": list(COCO_17.keypoints)},
]


def write_categories(path: Path) -> Path:
    rows = [person(number, 7, {"nose": (1, 1, 2)}, category_id=number) for number in (2, 4)]
    rows += [person(number, 7, {}, category_id=3, keypoints=[1, 1, 2, 5, 5, 2]) for number in (5, 6)]
    rows += [{"id": 9, "image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5]}]
    write_annotations(path, rows, IMAGES)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"categories": CATEGORIES}))
    return path


def test_categories_with_the_same_keypoints_are_read_and_others_named_and_counted(tmp_path: Path, caplog):
    path = write_categories(tmp_path / "zoo.json")

    labels = read(path)

    assert [row.id for row in labels.people] == [2, 4]
    assert "zoo.json: read are annotations of adult, Child, not 2 of dog; --category chooses" in caplog.text
    people = read_coco_people(path, COCO_17)
    assert (people.category_id, people.category_ids) == (2, {2, 4})


def test_whoever_is_of_a_second_category_is_written_with_it(tmp_path: Path):
    write_coco(read(write_categories(tmp_path / "zoo.json")), tmp_path / "copy.json")

    rows = json.loads((tmp_path / "copy.json").read_text())["annotations"]
    assert {row["id"]: row["category_id"] for row in rows} == {2: 2, 4: 4, 5: 3, 6: 3, 9: 1}


@pytest.mark.parametrize(("category", "ids"), [("dog", [5, 6]), ("child", [4]), ("3", [5, 6])])
def test_a_category_is_chosen_by_its_name_or_number(category: str, ids: list[int], tmp_path: Path):
    assert [row.id for row in read(write_categories(tmp_path / "zoo.json"), None, category).people] == ids


@pytest.mark.parametrize(("category", "written"), [("fish", "fish"), ("", "person")])
def test_the_written_category_is_that_of_the_labels(category: str, written: str, tmp_path: Path):
    write_coco(replace(two_people(COCO_17), category=category), tmp_path / "out.json")

    (row,) = json.loads((tmp_path / "out.json").read_text())["categories"]
    assert (row["name"], row["supercategory"]) == (written, written)
    assert read(tmp_path / "out.json").category == written


def test_a_category_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"no category 'cat'; it has bicycle, adult, dog, Child$"):
        read(write_categories(tmp_path / "zoo.json"), None, "cat")


def test_keypoints_are_matched_however_their_names_are_spelled(tmp_path: Path, caplog):
    names = [name.replace("left_", "L-").replace("right_", "Right ") for name in COCO_17.keypoints]
    labeled = {name: (index, 5, 2) for index, name in enumerate(COCO_17.keypoints)}
    path = write_annotations(tmp_path / "people.json", [person(1, 7, labeled, area=900)], IMAGES, names)

    people = read_coco_people(path, COCO_17)

    assert people.named.all()
    np.testing.assert_array_equal(people.keypoints_image[0, :, 0], np.arange(17))
    assert not caplog.records


def test_keypoints_that_only_one_side_has_are_named(tmp_path: Path, caplog):
    names = [*COCO_17.keypoints[:15], "heel", "toe"]
    path = write_annotations(tmp_path / "people.json", [person(1, 7, {"nose": (1, 1, 2)})], IMAGES, names)

    people = read_coco_people(path, COCO_17)

    assert people.named.tolist() == [True] * 15 + [False] * 2
    assert "(not in coco-17: heel, toe; not labeled: left_ankle, right_ankle)" in caplog.text


def test_labels_with_fewer_than_half_of_the_keypoints_are_refused(tmp_path: Path):
    names = [*COCO_17.keypoints[:8], *(f"part_{number}" for number in range(9))]
    path = write_annotations(tmp_path / "people.json", [person(1, 7, {"nose": (1, 1, 2)})], IMAGES, names)

    with pytest.raises(AnnotationError, match=r"labels 8 of coco-17's 17 keypoints; it labels part_0, .* not right_"):
        read_coco_people(path, COCO_17)
