import logging
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mspn.errors import AnnotationError
from mspn.labels.formats.coco import read_coco, write_coco
from mspn.labels.formats.cvat import read_cvat, write_cvat
from mspn.labels.label_set import LabeledImage, LabeledSet, category_of
from mspn.structures.boxes import Box, Size
from mspn.structures.skeleton import COCO_17, Skeleton
from tests.labels.label_sets import assert_same_people, two_people

KITE = Skeleton(name="kite", keypoints=("top", "west", "east"))
HEAD = """
  <meta><task><labels>
    <label><name>kite</name><type>skeleton</type></label>
    <label><name>top</name><type>points</type><parent>kite</parent></label>
    <label><name>east</name><type>points</type><parent>kite</parent></label>
    <label><name>west</name><type>points</type><parent>kite</parent></label>
  </labels></task></meta>"""
SKELETON = """
    <skeleton label="kite" source="manual" z_order="0" group_id="4">
      <points label="east" source="manual" outside="0" occluded="1" points="30.5,40.25"></points>
      <points label="top" source="manual" outside="0" occluded="0" points="10.00,20.00"></points>
      <points label="west" source="manual" outside="1" occluded="0" points="1.00,2.00"></points>
    </skeleton>"""
BOX = '<box label="kite" xtl="5.5" ytl="6" xbr="45.5" ybr="86" occluded="0" z_order="0" {}></box>'


def write(folder: Path, shapes: str, head: str = HEAD) -> Path:
    path = folder / "annotations.xml"
    image = f'<image id="7" name="a/b.jpg" width="200" height="100">{shapes}</image>'
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{head}{image}</annotations>')
    return path


def test_a_skeleton_has_visible_occluded_and_outside_points(tmp_path: Path):
    labels = read_cvat(write(tmp_path, SKELETON))

    assert labels.images == [LabeledImage(7, "a/b.jpg", Size(height=100, width=200))]
    assert labels.skeleton.keypoints == ("top", "east", "west")
    (somebody,) = labels.people
    assert (somebody.id, somebody.image_id, somebody.box) == (1, 7, None)
    assert somebody.keypoints_image.tolist() == [[10, 20, 2], [30.5, 40.25, 1], [1, 2, 0]]


def test_a_known_skeleton_of_the_same_names_decides_the_order(tmp_path: Path):
    labels = read_cvat(write(tmp_path, SKELETON), KITE)

    assert labels.skeleton is KITE
    assert labels.people[0].keypoints_image[2].tolist() == [30.5, 40.25, 1]


def test_a_box_belongs_to_the_skeleton_of_its_group(tmp_path: Path):
    labels = read_cvat(write(tmp_path, BOX.format('group_id="4"') + SKELETON + BOX.format("")))

    with_skeleton, alone = labels.people
    assert with_skeleton.box == alone.box == Box(5.5, 6, 40, 80)
    assert with_skeleton.keypoints_image.any()
    assert not alone.keypoints_image.any()


def test_points_of_a_group_are_a_person(tmp_path: Path):
    shape = '<points label="{}" occluded="0" points="{}" group_id="{}"></points>'
    shapes = [shape.format(*row) for row in (("top", "1,2", 1), ("west", "3,4", 1), ("top", "5,6", 2))]

    first, second = read_cvat(write(tmp_path, "".join(shapes), head="")).people

    assert first.keypoints_image.tolist() == [[1, 2, 2], [3, 4, 2]]
    assert second.keypoints_image.tolist() == [[5, 6, 2], [0, 0, 0]]


def test_other_shapes_are_counted(tmp_path: Path, caplog):
    with caplog.at_level(logging.WARNING):
        read_cvat(write(tmp_path, SKELETON + '<polygon label="tree" points="1,2;3,4;5,6"/>'))

    assert "annotations.xml: shapes of other types are not read: polygon (1)" in caplog.text


def test_labels_come_back_whole(tmp_path: Path):
    labels = two_people(KITE)
    labels.people[0].keypoints_image[1, 2] = 1

    write_cvat(labels, tmp_path / "a.xml")
    back = read_cvat(tmp_path / "a.xml", KITE)

    assert back.images == labels.images
    assert_same_people(back, labels)


def test_labels_pass_from_coco_and_back(tmp_path: Path):
    labels = two_people(COCO_17)
    write_coco(labels, tmp_path / "a.json")

    write_cvat(read_coco(tmp_path / "a.json"), tmp_path / "a.xml")
    write_coco(read_cvat(tmp_path / "a.xml"), tmp_path / "b.json")

    assert_same_people(read_coco(tmp_path / "b.json"), labels)


def test_what_is_written_is_laid_out_as_cvat_does(tmp_path: Path):
    write_cvat(two_people(KITE), tmp_path / "a.xml")

    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    assert root.findtext("version") == "1.1"
    labels = [
        (label.findtext("name"), label.findtext("type"), label.findtext("parent")) for label in root.iter("label")
    ]
    # Nobody says what has these keypoints.
    assert labels[:2] == [("object", "skeleton", None), ("top", "points", "object")]
    point = root.find("image/skeleton/points")
    assert point is not None
    assert (point.get("points"), point.get("outside"), point.get("occluded")) == ("10.25,20.5", "0", "0")


def test_an_image_of_unknown_size_cannot_be_written(tmp_path: Path):
    labels = LabeledSet(KITE, [LabeledImage(1, "a.jpg")], [])

    with pytest.raises(AnnotationError, match=r"the size of a\.jpg is not known, and .*a\.xml needs it; say"):
        write_cvat(labels, tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ('<points label="top" points="1,2;3,4"/>', "points 'top' at '1,2;3,4' are not one x,y; label each point"),
        ('<points label="top" points="1,nan"/>', "has a point without a label or a finite position"),
        ('<points points="1,2"/>', "has a point without a label or a finite position"),
        ('<box label="a" xtl="1" ytl="2" xbr="3"/>', "box has no number 'ybr'"),
        ('<box label="a" xtl="1" ytl="2" xbr="3" ybr="inf"/>', "box has no finite number 'ybr'"),
        (
            '<points label="top" points="1,2"/><points label="top" points="3,4"/>',
            "has two points 'top' for one person; group each person's points, or use skeletons",
        ),
    ],
)
def test_a_shape_of_another_form_is_named(shapes: str, message: str, tmp_path: Path):
    with pytest.raises(AnnotationError, match=rf"annotations\.xml: image .*{message}"):
        read_cvat(write(tmp_path, shapes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><track/></annotations>", 'has no images; export it from CVAT as "CVAT for images 1.1"'),
        ("<annotations><image", "is not XML in UTF-8"),
        ('<annotations><image id="1" name="a" width="1" height="1"/></annotations>', "has no labeled keypoint"),
        ('<annotations><image id="1" name="a" width="1"/></annotations>', "image has no number 'height'"),
        (
            '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>',
            "defines a document type, which CVAT does not; it is",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, message: str, tmp_path: Path):
    path = tmp_path / "annotations.xml"
    path.write_text(text)

    with pytest.raises(AnnotationError, match=message):
        read_cvat(path)


def test_entities_in_another_encoding_are_refused_too(tmp_path: Path):
    path = tmp_path / "annotations.xml"
    path.write_bytes('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><annotations/>'.encode("utf-16"))

    with pytest.raises(AnnotationError, match=r"annotations\.xml is not XML in UTF-8"):
        read_cvat(path)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"no file at .*annotations\.xml; check the path"):
        read_cvat(tmp_path / "annotations.xml")


def test_what_skeletons_are_of_is_kept_and_written(tmp_path: Path):
    other = SKELETON.replace("kite", "glider").replace('group_id="4"', 'group_id="5"')
    path = write(tmp_path, SKELETON + other)

    labels = read_cvat(path)
    write_cvat(labels, tmp_path / "again.xml")
    again = read_cvat(tmp_path / "again.xml")

    assert read_cvat(write(tmp_path, SKELETON)).category == "kite"
    assert [category_of(labels, somebody) for somebody in labels.people] == ["kite", "glider"]
    assert [category_of(again, somebody) for somebody in again.people] == ["kite", "glider"]
    assert [person.keypoints_image.tolist() for person in again.people] == [
        person.keypoints_image.tolist() for person in labels.people
    ]
