import json
from pathlib import Path

import pytest

from mspn.errors import AnnotationError
from mspn.labels.corrections import Correction, correct_labels, read_corrections, write_corrections
from mspn.structures.skeleton import COCO_17
from tests.labeled_sets import sound_set, with_keypoints, with_person

LEFT_WRIST, RIGHT_WRIST = COCO_17.keypoints.index("left_wrist"), COCO_17.keypoints.index("right_wrist")
WRISTS = Correction(swap=(("left_wrist", "right_wrist"),), reason="crossed")


def _labels_file(folder: Path) -> Path:
    path = folder / "people.json"
    path.write_text("labels")
    return path


def test_pairs_trade_places_with_their_visibility_then_keypoints_are_left_out():
    labels = with_keypoints(sound_set(), 2, {"left_wrist": (1, 2, 1), "right_wrist": (3, 4, 2)})
    correction = Correction(swap=(("left_wrist", "right_wrist"),), leave_out=("left_wrist",))

    corrected = correct_labels(labels, {2: correction}, Path("corrections.json"))

    assert corrected.people[1].keypoints_image[LEFT_WRIST].tolist() == [0, 0, 0]
    assert corrected.people[1].keypoints_image[RIGHT_WRIST].tolist() == [1, 2, 1]
    assert labels.people[1].keypoints_image[LEFT_WRIST].tolist() == [1, 2, 1]
    assert corrected.people[0] is labels.people[0]


def test_swaps_follow_one_another():
    labels = with_keypoints(
        sound_set(), 1, {"left_shoulder": (1, 1, 2), "left_wrist": (2, 2, 2), "right_wrist": (3, 3, 2)}
    )
    turned_then_swapped = Correction(swap=(("left_shoulder", "left_wrist"), ("left_wrist", "right_wrist")))

    (person, *_) = correct_labels(labels, {1: turned_then_swapped}, Path("corrections.json")).people

    assert person.keypoints_image[LEFT_WRIST].tolist() == [3, 3, 2]
    assert person.keypoints_image[RIGHT_WRIST].tolist() == [1, 1, 2]


def test_corrections_come_back_as_written(tmp_path: Path):
    labels = _labels_file(tmp_path)
    corrections = {7: WRISTS, 3: Correction(leave_out=("nose",), reason="far")}

    write_corrections(tmp_path / "corrections.json", labels, ("mspn-tiny",), corrections)

    assert read_corrections(tmp_path / "corrections.json", labels) == corrections
    content = json.loads((tmp_path / "corrections.json").read_text())
    assert (content["labels"], content["models"]) == ("people.json", ["mspn-tiny"])
    assert content["people"]["3"] == {"leave_out": ["nose"], "reason": "far"}


def test_an_entry_may_be_deleted_by_hand(tmp_path: Path):
    labels, path = _labels_file(tmp_path), tmp_path / "corrections.json"
    write_corrections(path, labels, ("mspn-tiny",), {7: WRISTS, 3: WRISTS})
    content = json.loads(path.read_text())
    del content["people"]["7"]
    path.write_text(json.dumps(content))

    assert read_corrections(path, labels) == {3: WRISTS}


def test_labels_that_changed_since_are_refused(tmp_path: Path):
    labels, path = _labels_file(tmp_path), tmp_path / "corrections.json"
    write_corrections(path, labels, ("mspn-tiny",), {7: WRISTS})
    labels.write_text("labels, swapped by hand")

    with pytest.raises(
        AnnotationError,
        match=r"corrections\.json corrects people\.json, which is not .*people\.json as it is now; write the",
    ):
        read_corrections(path, labels)


def test_a_file_of_another_form_is_refused(tmp_path: Path):
    labels, path = _labels_file(tmp_path), tmp_path / "corrections.json"
    write_corrections(path, labels, ("mspn-tiny",), {7: WRISTS})
    path.write_text(path.read_text().replace("swap", "swop"))

    with pytest.raises(AnnotationError, match=r"people\.7\.swop: Extra inputs .*; it must be a file of corrections"):
        read_corrections(path, labels)


def test_an_id_of_several_people_is_refused():
    labels = with_person(sound_set(), 2, id=3)

    with pytest.raises(AnnotationError, match="the labels have several people with the id 3; delete the entry"):
        correct_labels(labels, {3: WRISTS}, Path("corrections.json"))


@pytest.mark.parametrize(
    ("number", "correction", "message"),
    [
        (99, WRISTS, r"corrections\.json: the labels have nobody with the id 99; delete the entry"),
        (2, Correction(leave_out=("tail",)), r"person 2: the labels have no keypoint 'tail'; they have nose, left_eye"),
        (2, Correction(swap=(("left_wrist", "tail"),)), "person 2: the labels have no keypoint 'tail'"),
    ],
)
def test_strangers_are_refused(number: int, correction: Correction, message: str):
    with pytest.raises(AnnotationError, match=message):
        correct_labels(sound_set(), {number: correction}, Path("corrections.json"))
