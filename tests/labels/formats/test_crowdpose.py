import json
import logging
from pathlib import Path

from mspn.labels.formats.coco import read_crowdpose, write_crowdpose
from mspn.structures.skeleton import COCO_17, CROWDPOSE_14
from tests.labels.label_sets import assert_same, two_people

NAMES = [
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck"),
]


def write(path: Path, names: list[str]) -> Path:
    keypoints = [number for index in range(14) for number in (index, 2 * index, 2)]
    content = {
        "images": [{"id": 5, "file_name": "5.jpg", "width": 60, "height": 40, "crowdIndex": 0.25}],
        "annotations": [
            {"id": 3, "image_id": 5, "category_id": 1, "bbox": [1, 2, 30, 40], "keypoints": keypoints, "iscrowd": 0}
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }
    path.write_text(json.dumps(content))
    return path


def test_their_head_is_the_top_of_ours(tmp_path: Path):
    labels = read_crowdpose(write(tmp_path / "crowdpose.json", NAMES))

    assert labels.skeleton is CROWDPOSE_14
    # Number 12 of theirs.
    assert labels.people[0].keypoints_image[labels.skeleton.keypoints.index("head_top")].tolist() == [12, 24, 2]
    assert labels.images[0].extra == {"crowdIndex": 0.25}


def test_a_category_without_names_has_their_order(tmp_path: Path):
    assert read_crowdpose(write(tmp_path / "crowdpose.json", [])).skeleton is CROWDPOSE_14


def test_reading_and_writing_loses_nothing(tmp_path: Path):
    path = write(tmp_path / "crowdpose.json", NAMES)

    write_crowdpose(read_crowdpose(path), tmp_path / "written.json")

    content = json.loads((tmp_path / "written.json").read_text())
    # An area is added: COCO's similarity divides by it. 0.53 x 30 x 40.
    assert content["annotations"][0].pop("area") == 636
    assert content["annotations"][0].pop("num_keypoints") == 13 + 1
    assert content == json.loads(path.read_text())


def test_keypoints_that_it_does_not_have_are_counted_when_they_are_left_out(tmp_path: Path, caplog):
    path = tmp_path / "crowdpose.json"

    with caplog.at_level(logging.WARNING):
        write_crowdpose(two_people(COCO_17), path)

    # Five of the face; the second person's first three are unlabeled.
    message = "keypoints left out that crowdpose-14 does not have: nose, left_eye, right_eye, left_ear, right_ear (7)"
    assert f"{path}: {message}" in caplog.text
    back = read_crowdpose(path)
    shoulder = back.skeleton.keypoints.index("left_shoulder")
    assert back.people[0].keypoints_image[shoulder].tolist() == [15.25, 25.5, 2]
    assert not back.people[0].keypoints_image[back.skeleton.keypoints.index("neck")].any()


def test_labels_that_it_can_hold_come_back_whole(tmp_path: Path):
    labels = two_people(CROWDPOSE_14, area=99.5)
    write_crowdpose(labels, tmp_path / "a.json")
    first = read_crowdpose(tmp_path / "a.json")

    write_crowdpose(first, tmp_path / "b.json")

    assert_same(read_crowdpose(tmp_path / "b.json"), first)
    assert list(first.images) == list(labels.images)
