import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from mspn.errors import AnnotationError
from mspn.labels.formats.coco import read_coco, write_coco
from mspn.labels.formats.yolo import read_yolo, write_yolo
from mspn.labels.label_set import LabeledImage, LabeledSet
from mspn.structures.boxes import Box, Size
from mspn.structures.skeleton import COCO_17, Skeleton
from tests.labels.label_sets import assert_same, assert_same_people, two_people

KITE = Skeleton(name="kite", keypoints=("top", "west", "east"), pairs=(("west", "east"),))
SETTINGS = {
    "path": "elsewhere/kites",
    "train": "images/train",
    "val": "images/val",
    "kpt_shape": [3, 3],
    "flip_idx": [0, 2, 1],
    "names": {0: "kite"},
    "kpt_names": {0: ["top", "west", "east"]},
}
# The middle of 200x100 pixels, a quarter as wide and half as high; three keypoints.
ROW = "0 0.5 0.5 0.25 0.5 0.1 0.2 2 0.3 0.4 1 0 0 0\n"


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((100, 200, 3), np.uint8))


def write(folder: Path, row: str = ROW, **changes: object) -> Path:
    for name in ("train/a.png", "train/more/b.png", "val/c.jpg"):
        draw(folder / "images" / name)
    (folder / "labels/train/more").mkdir(parents=True)
    (folder / "labels/train/a.txt").write_text(row)
    (folder / "labels/train/more/b.txt").write_text("\n")
    path = folder / "data.yaml"
    settings = {key: value for key, value in (SETTINGS | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(settings))
    return path


def test_rows_are_fractions_of_the_images_size(tmp_path: Path):
    labels = read_yolo(write(tmp_path))

    assert [(image.id, image.file_name, image.size) for image in labels.images] == [
        (1, "train/a.png", Size(100, 200)),
        (2, "train/more/b.png", Size(100, 200)),
        (3, "val/c.jpg", Size(100, 200)),
    ]
    (somebody,) = labels.people
    assert (somebody.id, somebody.image_id) == (1, 1)
    assert somebody.box == Box(75, 25, 50, 50)
    np.testing.assert_allclose(somebody.keypoints_image, [[20, 20, 2], [60, 40, 1], [0, 0, 0]])
    assert labels.skeleton.keypoints == ("top", "west", "east")
    assert labels.skeleton.mirrored_pairs == (("west", "east"),)
    assert labels.category == "kite"


def test_the_folder_of_the_set_or_some_of_its_labels_will_do(tmp_path: Path):
    write(tmp_path)

    assert len(read_yolo(tmp_path).images) == 3
    only = read_yolo(tmp_path / "labels" / "train" / "more")
    assert [image.file_name for image in only.images] == ["train/more/b.png"]


def test_what_macos_leaves_beside_images_is_none(tmp_path: Path):
    settings = write(tmp_path)
    (tmp_path / "images/train/._a.png").write_bytes(b"Mac OS X")

    assert len(read_yolo(settings).images) == 3


def test_images_may_be_listed_in_a_text_file(tmp_path: Path):
    path = write(tmp_path, train="train.txt", val=None)
    (tmp_path / "train.txt").write_text("./images/train/a.png\n\n")

    assert [image.file_name for image in read_yolo(path).images] == ["train/a.png"]


def test_splits_with_folders_of_their_own_are_read_as_services_export_them(tmp_path: Path):
    draw(tmp_path / "train/images/a.png")
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a.txt").write_text(ROW)
    (tmp_path / "data.yaml").write_text(
        yaml.safe_dump(SETTINGS | {"path": None, "train": "../train/images", "val": []})
    )

    labels = read_yolo(tmp_path / "data.yaml")

    assert [image.file_name for image in labels.images] == ["train/images/a.png"]
    assert len(labels.people) == 1


def test_without_visibility_a_keypoint_in_the_corner_is_unlabeled(tmp_path: Path):
    path = write(tmp_path, "0 0.5 0.5 0.25 0.5 0.1 0.2 0 0 -0.1 0.5\n", kpt_shape=[3, 2])

    (somebody,) = read_yolo(path).people

    assert somebody.keypoints_image[:, 2].tolist() == [2, 0, 0]


def test_a_set_without_names_has_the_skeleton_that_is_given(tmp_path: Path):
    path = write(tmp_path, kpt_names=None)

    assert read_yolo(path, KITE).skeleton is KITE
    with pytest.raises(
        AnnotationError,
        match=r"data\.yaml: kpt_shape says 3 keypoints, coco-17 has 17; say with --skeleton, or in kpt_names, what",
    ):
        read_yolo(path)


def test_reading_and_writing_loses_nothing(tmp_path: Path):
    labels = read_yolo(write(tmp_path / "first", ROW.replace("0 0.5", "1 0.5", 1), names=["kite", "dragon"]))
    for image in labels.images:
        draw(tmp_path / "second" / "images" / image.file_name)

    write_yolo(labels, tmp_path / "second")

    assert_same(read_yolo(tmp_path / "second"), labels, atol=1e-5)


def test_labels_pass_from_coco_and_back(tmp_path: Path):
    labels = two_people(COCO_17)
    write_coco(labels, tmp_path / "a.json")
    for image in labels.images:
        draw(tmp_path / "yolo" / "images" / image.file_name)

    write_yolo(read_coco(tmp_path / "a.json"), tmp_path / "yolo")
    back = read_yolo(tmp_path / "yolo")

    # Images are numbered by their paths: more/two.jpg comes before one.jpg.
    assert [image.file_name for image in back.images] == ["more/two.jpg", "one.jpg"]
    assert back.skeleton is COCO_17
    in_order = LabeledSet(COCO_17, labels.images, [_in_image(person, 2) for person in labels.people])
    assert_same_people(back, in_order, atol=1e-5)


def _in_image(person, image_id: int):
    return type(person)(person.id, image_id, person.keypoints_image, person.box)


def test_what_it_has_no_place_for_is_counted(tmp_path: Path, caplog):
    labels = two_people(COCO_17, area=3.0, extra={"segmentation": []})

    with caplog.at_level(logging.WARNING):
        write_yolo(labels, tmp_path)

    assert f"{tmp_path}: areas of people are left out (2)" in caplog.text
    assert f"{tmp_path}: fields of people are left out: segmentation (2)" in caplog.text


def test_labels_are_where_trainers_look_for_those_of_images_in_more_folders_called_images(tmp_path: Path):
    first, second = two_people(COCO_17).people
    images = [LabeledImage(1, "a/images/b/one.jpg", Size(100, 200)), LabeledImage(2, "two.jpg", Size(100, 200))]
    labels = LabeledSet(COCO_17, images, [first, _in_image(second, 2)])
    for image in images:
        draw(tmp_path / "images" / image.file_name)

    write_yolo(labels, tmp_path)
    back = read_yolo(tmp_path)

    # Of images/a/images/b, the last folder images is replaced.
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")}
    assert written == {"images/a/labels/b/one.txt", "labels/two.txt"}
    assert [image.file_name for image in back.images] == ["a/images/b/one.jpg", "two.jpg"]
    assert_same_people(back, labels, atol=1e-5)


def test_no_labels_are_written_through_a_link_among_the_images(tmp_path: Path):
    draw(tmp_path / "mine/train/images/a.jpg")
    (tmp_path / "mine/train/labels").mkdir()
    (tmp_path / "mine/train/labels/a.txt").write_text(ROW)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "mine")
    labels = LabeledSet(KITE, [LabeledImage(1, "train/images/a.jpg", Size(100, 200))], [])

    with pytest.raises(
        AnnotationError, match=r"written through a link, to .*mine/train/labels/a\.txt; copy the images"
    ):
        write_yolo(labels, tmp_path / "set")

    assert (tmp_path / "mine/train/labels/a.txt").read_text() == ROW


def test_images_that_would_share_a_file_of_labels_are_refused_before_any_is_written(tmp_path: Path):
    images = [LabeledImage(number, name, Size(9, 9)) for number, name in enumerate(("b.jpg", "a.jpg", "a.png"))]

    with pytest.raises(AnnotationError, match=r"a\.jpg and a\.png would both have .* in .*labels/a\.txt; rename one"):
        write_yolo(LabeledSet(KITE, images, []), tmp_path)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "//etc/a.jpg", "c:/a.jpg", "..\\a.jpg", ""])
def test_nothing_is_written_outside_the_folder(name: str, tmp_path: Path):
    labels = LabeledSet(KITE, [LabeledImage(1, name, Size(10, 10))], [])

    with pytest.raises(AnnotationError, match=r"leads out of .*images; nothing is written there"):
        write_yolo(labels, tmp_path / "set")

    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0 0.5 0.5", r"line 1 has 3 numbers, not 14"),
        (ROW + ROW.replace("0.2 ", "nan "), r"line 2 has a number that is not finite"),
        (ROW.replace("0.2 ", "x "), r"line 1: could not convert string to float: 'x'; write numbers only"),
        (ROW.replace("0.2 2", "0.2 5"), r"line 1 has a visibility that is none of 0, 1, 2"),
    ],
)
def test_a_wrong_row_is_named(row: str, message: str, tmp_path: Path):
    with pytest.raises(AnnotationError, match=rf"a\.txt, {message}"):
        read_yolo(write(tmp_path, row))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kpt_shape": None}, r"kpt_shape: Field required; it must be a YOLO-pose data\.yaml"),
        ({"kpt_shape": [3, 4]}, r"kpt_shape is \[3, 4\]; write \[keypoints, 2\] or \[keypoints, 3\]"),
        ({"train": "images/gone"}, r"there is no .*images/gone; copy or link the images to that place"),
        ({"train": None, "val": None}, r"its train, val and test name no images; are they there\?"),
    ],
)
def test_settings_of_no_use_are_refused(changes: dict, message: str, tmp_path: Path):
    with pytest.raises(AnnotationError, match=rf"data\.yaml: {message}"):
        read_yolo(write(tmp_path, **changes))


def test_an_image_without_a_header_is_named(tmp_path: Path):
    path = write(tmp_path)
    (tmp_path / "images/val/c.jpg").write_bytes(b"nothing")

    with pytest.raises(AnnotationError, match=r"data\.yaml: .*c\.jpg has no header of an image"):
        read_yolo(path)


def test_text_that_is_not_utf_8_is_named(tmp_path: Path):
    path = write(tmp_path, train="list.txt")
    (tmp_path / "list.txt").write_bytes("images/é.jpg\n".encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"list\.txt is not UTF-8 \(.*\); save it in that encoding"):
        read_yolo(path)

    (tmp_path / "list.txt").write_text("images/train/a.png\n")
    (tmp_path / "labels/train/a.txt").write_bytes(ROW.encode("utf-16"))
    with pytest.raises(AnnotationError, match=r"a\.txt is not UTF-8"):
        read_yolo(path)


def test_text_may_begin_with_a_byte_order_mark(tmp_path: Path):
    path = write(tmp_path, "\ufeff" + ROW, train="list.txt", val=None)
    (tmp_path / "list.txt").write_text("\ufeffimages/train/a.png\n")

    labels = read_yolo(path)

    assert ([image.file_name for image in labels.images], len(labels.people)) == (["train/a.png"], 1)


def test_settings_that_cannot_be_parsed_are_refused(tmp_path: Path):
    (tmp_path / "data.yaml").write_text("a: [")

    with pytest.raises(AnnotationError, match=r"data\.yaml is not YAML"):
        read_yolo(tmp_path)


def test_a_folder_without_settings_is_refused(tmp_path: Path):
    (tmp_path / "a" / "b" / "c" / "d").mkdir(parents=True)

    with pytest.raises(AnnotationError, match=r"no data\.yaml at .*d or above; name the one of the YOLO-pose set"):
        read_yolo(tmp_path / "a" / "b" / "c" / "d")


@pytest.mark.parametrize("place", ["../elsewhere", "/", "list.txt"])
def test_a_set_that_leads_outside_its_folder_is_refused_before_it_is_searched(place: str, tmp_path: Path):
    folder = tmp_path / "set"
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir()
    (folder / "list.txt").write_text("../elsewhere/a.png\n")
    settings = {"train": "list.txt"} if place == "list.txt" else {"path": place, "train": "."}
    (folder / "data.yaml").write_text(yaml.safe_dump({**settings, "kpt_shape": [17, 3]}))

    with pytest.raises(AnnotationError, match=r"data\.yaml leads to .*, which is outside its folder"):
        read_yolo(folder)


def test_one_class_may_be_chosen(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    draw(tmp_path / "images" / "a.png")
    (tmp_path / "data.yaml").write_text(
        yaml.safe_dump({"train": "images", "kpt_shape": [1, 2], "kpt_names": [["tip"]], "names": ["pen", "Fork"]})
    )
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.5 0.5 0.2 0.2\n")

    labels = read_yolo(tmp_path, None, "fork")

    assert ([person.extra["class"] for person in labels.people], labels.category) == ([1], "Fork")
    with pytest.raises(AnnotationError, match="has no class 'spoon'; it has pen, Fork"):
        read_yolo(tmp_path, None, "spoon")


@pytest.mark.parametrize("value", ["!!bool x", "!!int ''", "!!timestamp x", "!!float x"])
def test_a_value_that_its_tag_does_not_fit_is_one_line(value: str, tmp_path: Path):
    (tmp_path / "data.yaml").write_text(f"kpt_shape: {value}\n")

    with pytest.raises(AnnotationError, match=r"data\.yaml is not YAML \(.*a value is not of the kind"):
        read_yolo(tmp_path)
