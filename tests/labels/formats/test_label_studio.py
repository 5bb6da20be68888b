import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mspn.errors import AnnotationError
from mspn.labels.formats.coco import read_coco, write_coco
from mspn.labels.formats.label_studio import read_label_studio, write_label_studio
from mspn.labels.label_set import LabeledImage, LabeledSet, category_of
from mspn.structures.boxes import Box, Size
from mspn.structures.skeleton import COCO_17, Skeleton
from tests.labels.label_sets import assert_same_people, two_people

KITE = Skeleton(name="kite", keypoints=("top", "west"))


def region(**fields: Any) -> dict[str, Any]:
    """In an image of 200x400 pixels."""
    return {"original_width": 200, "original_height": 400, "image_rotation": 0, **fields}


def point(label: str, x: float, y: float, **fields: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.4, "keypointlabels": [label]}
    return region(id=f"{label}{x}", type="keypointlabels", value=value, **fields)


def rectangle(name: str, x: float, y: float, width: float, height: float, **value: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["person"]} | value
    return region(id=name, type="rectanglelabels", value=value)


def write(folder: Path, *regions: dict[str, Any], image: str = "/data/upload/3/1234abcd-a.jpg") -> Path:
    path = folder / "export.json"
    task = {"id": 12, "data": {"image": image}, "annotations": [{"id": 1, "result": list(regions)}], "predictions": []}
    path.write_text(json.dumps([task]))
    return path


def test_positions_are_percents_of_the_image(tmp_path: Path):
    labels = read_label_studio(write(tmp_path, rectangle("r", 10, 10, 50, 25), point("top", 25, 12.5, parentID="r")))

    (image,), (somebody,) = labels.images, labels.people
    assert (image.id, image.file_name, image.size) == (1, "1234abcd-a.jpg", Size(height=400, width=200))
    # Of 200 pixels across and 400 down.
    assert somebody.box == Box(20, 40, 100, 100)
    assert somebody.keypoints_image.tolist() == [[50, 50, 2]]
    assert labels.skeleton.keypoints == ("top",)


def test_a_keypoint_belongs_to_its_parent_else_to_the_smallest_rectangle_around_it(tmp_path: Path):
    large, small = rectangle("large", 0, 0, 90, 90), rectangle("small", 40, 40, 20, 20)
    points = [point("top", 50, 50), point("west", 50, 50, parentID="large"), point("west", 45, 45)]

    labels = read_label_studio(write(tmp_path, large, small, *points), KITE)

    in_large, in_small = labels.people
    assert in_large.keypoints_image.tolist() == [[0, 0, 0], [100, 200, 2]]
    assert in_small.keypoints_image.tolist() == [[100, 200, 2], [90, 180, 2]]
    assert labels.skeleton is KITE


def test_without_rectangles_all_keypoints_are_one_persons(tmp_path: Path):
    (somebody,) = read_label_studio(write(tmp_path, point("west", 50, 50), point("top", 10, 10))).people

    assert somebody.box is None
    assert somebody.keypoints_image.tolist() == [[100, 200, 2], [20, 40, 2]]


def test_a_rectangle_without_keypoints_is_a_person_too(tmp_path: Path):
    regions = (rectangle("a", 0, 0, 10, 10), rectangle("b", 50, 50, 10, 10), point("top", 5, 5))

    _, without = read_label_studio(write(tmp_path, *regions)).people

    assert without.box == Box(100, 200, 20, 40)
    assert not without.keypoints_image.any()


def test_a_keypoint_outside_all_rectangles_is_counted_and_belongs_to_nobody(tmp_path: Path, caplog):
    regions = (rectangle("a", 0, 0, 10, 10), point("top", 50, 50), point("west", 5, 5))

    with caplog.at_level(logging.WARNING):
        (somebody,) = read_label_studio(write(tmp_path, *regions)).people

    assert somebody.keypoints_image[:, 2].tolist() == [0, 2]
    assert "export.json: keypoints in no rectangle, which belong to nobody, are not read (1)" in caplog.text


def test_of_several_annotations_the_first_that_was_not_cancelled_is_read(tmp_path: Path, caplog):
    path = write(tmp_path, point("top", 50, 50))
    (task,) = json.loads(path.read_text())
    cancelled = {"was_cancelled": True, "result": []}
    task["annotations"] = [cancelled, *task["annotations"], {"result": [point("top", 1, 1)]}]
    path.write_text(json.dumps([task]))

    with caplog.at_level(logging.WARNING):
        labels = read_label_studio(path)

    assert labels.people[0].keypoints_image.tolist() == [[100, 200, 2]]
    assert "export.json: further annotations of a task are not read (1)" in caplog.text


def test_regions_of_other_types_are_counted(tmp_path: Path, caplog):
    brush = region(id="x", type="brushlabels", value={"brushlabels": ["tree"], "rle": [1]})

    with caplog.at_level(logging.WARNING):
        read_label_studio(write(tmp_path, point("top", 50, 50), brush))

    assert "export.json: regions of other types are not read (1)" in caplog.text


@pytest.mark.parametrize(
    ("image", "file_name"),
    [
        ("/data/upload/3/1234abcd-a%20b.jpg", "1234abcd-a b.jpg"),
        ("/data/local-files/?d=set/one/a.png", "set/one/a.png"),
        ("s3://bucket/folder/a.jpg", "a.jpg"),
        ("https://example.org/folder/a.webp?token=1", "a.webp"),
        ("http://localhost:8080/data/local-files/?d=set/a%20%23%25.png", "set/a #%.png"),
        ("folder/a.jpg", "folder/a.jpg"),
        ("folder/a%20b.jpg", "folder/a b.jpg"),
        ("folder/who? #1 12:30.jpg", "folder/who? #1 12:30.jpg"),
        ("a:b.jpg", "a:b.jpg"),
    ],
)
def test_the_file_name_is_found_in_the_address(image: str, file_name: str, tmp_path: Path):
    labels = read_label_studio(write(tmp_path, point("top", 1, 1), image=image))

    assert labels.images[0].file_name == file_name


def test_labels_come_back_but_for_what_is_occluded(tmp_path: Path, caplog):
    labels = two_people(COCO_17, area=5.0)
    labels.people[0].keypoints_image[4, 2] = 1

    with caplog.at_level(logging.WARNING):
        write_label_studio(labels, tmp_path / "a.json")
    back = read_label_studio(tmp_path / "a.json")

    assert "a.json: occluded keypoints are written as visible ones (1)" in caplog.text
    assert "a.json: areas of people are left out (2)" in caplog.text
    labels.people[0].keypoints_image[4, 2] = 2
    assert back.skeleton is COCO_17
    assert [image.file_name for image in back.images] == ["one.jpg", "more/two.jpg"]
    assert_same_people(back, labels, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("more/two #1.jpg", "more/two%20%231.jpg"),
        ("who?d=1.jpg", "who%3Fd%3D1.jpg"),
        ("a%20b.jpg", "a%2520b.jpg"),
        ("a:b.jpg", "a%3Ab.jpg"),
        ("ü.jpg", "%C3%BC.jpg"),
        # A byte that is no UTF-8, as Python has it in names.
        ("\udcff.jpg", "%FF.jpg"),
    ],
)
def test_whatever_a_file_is_called_its_name_comes_back(name: str, address: str, tmp_path: Path):
    labels = LabeledSet(COCO_17, [LabeledImage(1, name, Size(100, 200))], two_people(COCO_17).people)

    write_label_studio(labels, tmp_path / "a.json")

    assert json.loads((tmp_path / "a.json").read_text())[0]["data"] == {"image": address}
    assert read_label_studio(tmp_path / "a.json").images[0].file_name == name


def test_labels_pass_from_coco_and_back(tmp_path: Path):
    labels = two_people(COCO_17)
    write_coco(labels, tmp_path / "a.json")

    write_label_studio(read_coco(tmp_path / "a.json"), tmp_path / "b.json")
    write_coco(read_label_studio(tmp_path / "b.json"), tmp_path / "c.json")

    assert_same_people(read_coco(tmp_path / "c.json"), labels, atol=1e-9)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (
            [point("top", 1, 1), point("top", 2, 2)],
            "task 12 has two 'top' for one person; draw a rectangle around each person, as their parent",
        ),
        (
            [rectangle("a", 1, 1, 9, 9, rotation=30)],
            "the image or the rectangle is turned in Label Studio; set the rotation to 0",
        ),
        (
            [point("top", "left", 1)],
            r"0\.annotations\.0\.result\.1\.value\.x: .*; it must be Label Studio's JSON export",
        ),
        (
            [{"type": "keypointlabels", "value": {"x": 1, "y": 2, "keypointlabels": ["top"]}}],
            "the region lacks original_width and original_height",
        ),
        ([], "has no labeled keypoint, nor a list of their labels; label some first"),
    ],
    ids=["twice", "turned", "no number", "no size", "nothing"],
)
def test_what_cannot_be_read_is_named(regions: list, message: str, tmp_path: Path):
    with pytest.raises(AnnotationError, match=rf"export\.json.*{message}"):
        read_label_studio(write(tmp_path, point("west", 5, 5), *regions) if regions else write(tmp_path))


def test_a_task_without_an_image_is_named(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"export\.json: task 12 names no image in its data"):
        read_label_studio(write(tmp_path, point("top", 1, 1), image="just text"))


def test_what_rectangles_hold_is_kept_and_written(tmp_path: Path):
    cat = rectangle("a", 0, 0, 10, 10, rectanglelabels=["cat"])
    dog = rectangle("b", 50, 50, 10, 10, rectanglelabels=["dog"])

    one = read_label_studio(write(tmp_path, cat, point("top", 5, 5)))
    both = read_label_studio(write(tmp_path, cat, dog, point("top", 5, 5), point("top", 55, 55)))
    write_coco(both, tmp_path / "both.json")
    kept = read_coco(tmp_path / "both.json")
    write_label_studio(kept, tmp_path / "again.json")

    assert one.category == "cat"
    assert [category_of(both, somebody) for somebody in both.people] == ["cat", "dog"]
    assert [category_of(kept, somebody) for somebody in kept.people] == ["cat", "dog"]
    again = read_label_studio(tmp_path / "again.json")
    assert [category_of(again, somebody) for somebody in again.people] == ["cat", "dog"]
