import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest

from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.recipe import Recipe
from mspn.datasets.crop_dataset import read_training_sets
from mspn.datasets.people import merge, read_people_set, select_people
from mspn.errors import AnnotationError
from mspn.labels.corrections import Correction, write_corrections
from mspn.labels.formats.coco import read_coco
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet
from mspn.structures.skeleton import COCO_17, FACE, Skeleton
from tests.coco_files import person, write_annotations

NOSE, LEFT_WRIST, RIGHT_WRIST, LEFT_HIP = 0, 9, 10, 11
IMAGES = {7: "seven.jpg", 3: "three.jpg"}


def read(path: Path):
    return select_people(read_coco(path, COCO_17), Path("images"), COCO_17, str(path))


def test_people_come_with_their_images_boxes_and_keypoints(tmp_path: Path):
    path = write_annotations(
        tmp_path / "people.json",
        [person(1, 7, {"nose": (11, 22, 2)}), person(2, 3, {"left_hip": (5, 6, 1)}, bbox=[0.5, 1.5, 2.5, 3.5])],
        IMAGES,
    )

    people = read(path)

    assert len(people) == 2
    assert [str(people.images[index]) for index in people.image_index] == [
        "images/seven.jpg",
        "images/three.jpg",
    ]
    assert people.image_ids.tolist() == [7, 3]
    assert people.annotation_ids.tolist() == [1, 2]
    assert people.boxes.tolist() == [[10, 20, 30, 60], [0.5, 1.5, 2.5, 3.5]]
    assert people.keypoints_image[0, NOSE].tolist() == [11, 22, 2]
    assert people.keypoints_image[1, LEFT_HIP].tolist() == [5, 6, 1]
    assert (people.keypoints_image[:, :, 2] > 0).sum() == 2
    assert people.counted.all()


def test_crowds_and_people_without_a_labeled_keypoint_are_left_out(tmp_path: Path):
    nose = {"nose": (1, 1, 2)}
    path = write_annotations(
        tmp_path / "people.json", [person(1, 7, nose, iscrowd=1), person(2, 7, {}), person(3, 7, nose)], IMAGES
    )

    assert read(path).annotation_ids.tolist() == [3]


@pytest.mark.parametrize(
    "box", [[10, 20, 0, 60], [10, 20, 30, -1], [float("nan"), 20, 30, 60], [10, 20, float("inf"), 60]]
)
def test_people_whose_box_is_empty_or_not_finite_are_left_out_and_counted(box: list[float], tmp_path: Path, caplog):
    nose = {"nose": (1, 1, 2)}
    path = write_annotations(tmp_path / "people.json", [person(1, 7, nose, bbox=box), person(2, 7, nose)], IMAGES)

    with caplog.at_level(logging.WARNING):
        people = read(path)

    assert people.annotation_ids.tolist() == [2]
    assert "people.json: 1 people left out, their boxes are empty or not finite" in caplog.text


def test_the_category_decides_the_order_of_the_keypoints(tmp_path: Path):
    annotation = person(1, 7, {}, keypoints=[1, 2, 2, 3, 4, 1, 5, 6, 2])
    path = write_annotations(tmp_path / "people.json", [annotation], IMAGES, ["right_wrist", "tail", "nose"])

    people = read(path)

    assert people.keypoints_image[0, RIGHT_WRIST].tolist() == [1, 2, 2]
    assert people.keypoints_image[0, NOSE].tolist() == [5, 6, 2]
    # What the category does not name is neither labeled nor counted.
    assert np.flatnonzero(people.counted[0]).tolist() == [NOSE, RIGHT_WRIST]
    assert np.flatnonzero(people.keypoints_image[0, :, 2]).tolist() == [NOSE, RIGHT_WRIST]


def test_a_category_without_names_is_in_the_skeletons_order(tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 7, {"nose": (1, 2, 2)})], IMAGES, [])

    people = read(path)

    assert people.keypoints_image[0, NOSE].tolist() == [1, 2, 2]
    assert people.counted.all()


def test_annotations_of_boxes_only_are_left_out(tmp_path: Path):
    boxes_only = {"id": 9, "image_id": 7, "category_id": 2, "bbox": [0, 0, 5, 5]}
    path = write_annotations(tmp_path / "people.json", [boxes_only, person(1, 7, {"nose": (1, 2, 2)})], IMAGES)

    assert read(path).annotation_ids.tolist() == [1]


def test_a_file_in_which_nobody_is_labeled_is_refused(tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 7, {})], IMAGES)

    with pytest.raises(
        AnnotationError, match=r"people\.json has no person with a box and a labeled keypoint \(visibility 1 or 2\)"
    ):
        read(path)


def read_set(root: Path, **settings) -> "tuple[np.ndarray, np.ndarray]":
    config = PeopleSetConfig(annotations="people.json", images="images", **settings)
    people = read_people_set(config, root, COCO_17)
    return people.keypoints_image, people.counted


def test_keypoints_that_a_set_never_labels_are_not_counted(tmp_path: Path):
    write_annotations(tmp_path / "people.json", [person(1, 7, {"left_hip": (1, 1, 2)})], IMAGES)

    _, counted = read_set(tmp_path, never_labeled=("nose", "right_wrist"))

    assert np.flatnonzero(~counted[0]).tolist() == [NOSE, RIGHT_WRIST]


def test_never_labeled_keypoints_that_do_not_exist_are_refused(tmp_path: Path):
    write_annotations(tmp_path / "people.json", [person(1, 7, {"left_hip": (1, 1, 2)})], IMAGES)

    with pytest.raises(AnnotationError, match="never_labeled: coco-17 has no keypoint 'tail'"):
        read_set(tmp_path, never_labeled=("tail",))


def test_proposed_faces_count_where_their_score_is_high_enough(tmp_path: Path):
    hip = {"left_hip": (1, 1, 2)}
    write_annotations(tmp_path / "people.json", [person(1, 7, hip), person(2, 7, hip)], IMAGES)
    faces = {"1": [[10, 20, 0.9], [11, 21, 0.3], [12, 22, 0.29], [0, 0, 0], [14, 24, 1.0]]}
    (tmp_path / "faces.json").write_text(json.dumps(faces))

    keypoints, counted = read_set(tmp_path, faces="faces.json", never_labeled=FACE)

    # Nose, left eye and right ear reach 0.3, and are visible. The others and the second person's face are unknown.
    assert keypoints[0, :5].tolist() == [[10, 20, 2], [11, 21, 2], [0, 0, 0], [0, 0, 0], [14, 24, 2]]
    assert counted[0, :5].tolist() == [True, True, False, False, True]
    assert not keypoints[1, :5].any()
    assert not counted[1, :5].any()
    assert keypoints[:, LEFT_HIP].tolist() == [[1, 1, 2]] * 2
    assert counted[:, 5:].all()


@pytest.mark.parametrize("faces", [[], {"1": [[10, 20, 0.9]]}], ids=["no table", "too few rows"])
def test_faces_of_another_form_are_refused(faces: object, tmp_path: Path):
    write_annotations(tmp_path / "people.json", [person(1, 7, {"left_hip": (1, 1, 2)})], IMAGES)
    (tmp_path / "faces.json").write_text(json.dumps(faces))

    with pytest.raises(AnnotationError, match=r"faces\.json"):
        read_set(tmp_path, faces="faces.json")


def test_a_missing_file_of_faces_is_refused(tmp_path: Path):
    write_annotations(tmp_path / "people.json", [person(1, 7, {"left_hip": (1, 1, 2)})], IMAGES)

    with pytest.raises(AnnotationError, match=r"no file at .*faces\.json"):
        read_set(tmp_path, faces="faces.json")


def test_corrections_are_applied_before_keypoints_are_renamed_and_faces_added(tmp_path: Path):
    names = ["hand_l", "right_wrist", "nose"]
    labeled = [[1, 2, 1, 3, 4, 2, 5, 6, 2]]
    annotations = [person(number, 7, {}, keypoints=labeled[0]) for number in (1, 2)]
    path = write_annotations(tmp_path / "people.json", annotations, IMAGES, names)
    corrections = {1: Correction(swap=(("hand_l", "right_wrist"),), leave_out=("hand_l", "nose"))}
    write_corrections(tmp_path / "corrections.json", path, ("mspn-tiny",), corrections)
    (tmp_path / "faces.json").write_text(json.dumps({"1": [[10, 20, 0.9]] * 5}))

    keypoints, counted = read_set(
        tmp_path, corrections="corrections.json", keypoint_names={"hand_l": "left_wrist"}, faces="faces.json"
    )

    assert keypoints[0, [LEFT_WRIST, RIGHT_WRIST, NOSE]].tolist() == [[0, 0, 0], [1, 2, 1], [10, 20, 2]]
    assert counted[0, LEFT_WRIST]
    assert keypoints[1, [LEFT_WRIST, RIGHT_WRIST]].tolist() == [[1, 2, 1], [3, 4, 2]]


def test_labels_that_share_no_keypoint_with_the_network_are_refused():
    kite = Skeleton(name="kite", keypoints=("top", "tail"))
    labels = LabeledSet(
        images=[LabeledImage(id=7, file_name="a.png")],
        people=[LabeledPerson(id=1, image_id=7, keypoints_image=np.array([[1.0, 1, 2], [2, 2, 2]]), box=(0, 0, 5, 5))],
        skeleton=kite,
    )

    with pytest.raises(
        AnnotationError, match=r"^a\.json labels 0 of coco-17's 17 keypoints; it labels top, tail, which"
    ):
        select_people(labels, Path(), COCO_17, "a.json")


def test_people_that_nobody_can_train_with_are_refused(tmp_path: Path):
    stray = write_annotations(tmp_path / "stray.json", [person(1, 99, {"nose": (1, 1, 2)})], IMAGES)
    lost = write_annotations(tmp_path / "lost.json", [person(1, 7, {"nose": (math.inf, 1, 2)})], IMAGES)

    with pytest.raises(AnnotationError, match=r"stray\.json: annotation of image_id 99, which is not among its images"):
        read(stray)
    with pytest.raises(AnnotationError, match=r"lost\.json has a labeled keypoint whose position is not a finite"):
        read(lost)


def test_whoever_has_no_box_gets_the_one_around_the_keypoints():
    keypoints = np.zeros((17, 3))
    keypoints[0], keypoints[1] = (10, 20, 2), (30, 60, 1)
    people = [LabeledPerson(1, 1, keypoints, box=None), LabeledPerson(2, 1, keypoints[:1].repeat(17, 0), box=None)]

    selected = select_people(LabeledSet(COCO_17, [LabeledImage(1, "a.jpg")], people), Path(), COCO_17, "a")

    # 20 x 40 pixels and a margin of 4; the second person's keypoints all lie at one place.
    assert selected.annotation_ids.tolist() == [1]
    assert selected.boxes.tolist() == [[6, 16, 28, 48]]


def test_labels_of_nobody_are_refused():
    with pytest.raises(AnnotationError, match=r"a\.json has no person with a box and a labeled keypoint"):
        select_people(LabeledSet(COCO_17, [], []), Path(), COCO_17, "a.json")


def write_kites(root: Path, names: list[str]) -> None:
    row = person(1, 7, {}, keypoints=[1, 2, 2, 3, 4, 1, 5, 6, 2])
    write_annotations(root / "people.json", [row], IMAGES, names)


def test_keypoints_of_another_skeleton_are_mapped_and_the_rest_is_not_counted(tmp_path: Path):
    write_kites(tmp_path, ["face", "left_wrist", "tail"])

    keypoints, counted = read_set(tmp_path, keypoint_names={"face": "nose", "left_wrist": "right_wrist"})

    assert np.flatnonzero(counted[0]).tolist() == [NOSE, RIGHT_WRIST]
    assert keypoints[0, [NOSE, RIGHT_WRIST]].tolist() == [[1, 2, 2], [3, 4, 1]]
    assert (keypoints[0, :, 2] > 0).sum() == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"beak": "nose"}, "keypoint_names: the set has no keypoint 'beak'; it has face, left_wrist, tail"),
        ({"face": "beak"}, "keypoint_names: coco-17 has no keypoint 'beak'; it has nose, left_eye, "),
        ({"face": "left_wrist"}, "keypoint_names: two keypoints of the set would be 'left_wrist'; rename the other"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(names: dict, message: str, tmp_path: Path):
    write_kites(tmp_path, ["face", "left_wrist", "tail"])

    with pytest.raises(AnnotationError, match=message):
        read_set(tmp_path, keypoint_names=names)


def test_a_skeleton_file_says_what_the_keypoints_of_a_set_are(tmp_path: Path):
    write_kites(tmp_path, [])
    (tmp_path / "kite.yaml").write_text("name: kite\nkeypoints: [nose, tail, left_hip]")

    keypoints, counted = read_set(tmp_path, skeleton="kite.yaml")

    assert np.flatnonzero(counted[0]).tolist() == [NOSE, LEFT_HIP]
    assert keypoints[0, LEFT_HIP].tolist() == [5, 6, 2]


def test_sets_of_other_formats_are_read(tmp_path: Path):
    joints = [[index + 1, 2 * index + 1] for index in range(16)]
    row = {"image": "a.jpg", "center": [50, 60], "scale": 0.5, "joints": joints, "joints_vis": [1] * 16}
    (tmp_path / "people.json").write_text(json.dumps([row]))

    keypoints, counted = read_set(tmp_path, format="mpii")

    # MPII has COCO's twelve of the body, its left hip being number 3, and counts from 1.
    assert counted[0].sum() == 12
    assert not counted[0, :5].any()
    assert keypoints[0, LEFT_HIP].tolist() == [3, 6, 2]


def test_sets_with_different_skeletons_train_together(tmp_path: Path):
    write_annotations(tmp_path / "coco.json", [person(1, 7, {"nose": (1, 2, 2)})], IMAGES)
    keypoints = [number for index in range(14) for number in (10 + index, 20 + index, 1)]
    boxes = {"human1": [0, 0, 9, 9]}
    image = {"image_id": "b", "human_annotations": boxes, "keypoint_annotations": {"human1": keypoints}}
    (tmp_path / "aic.json").write_text(json.dumps([image]))
    (tmp_path / "images").mkdir()
    sets = (
        PeopleSetConfig(annotations="coco.json", images="images"),
        PeopleSetConfig(annotations="aic.json", images="images", keypoint_names={"head_top": "nose"}),
    )
    recipe = Recipe(name="mixed", data=DataConfig(root=str(tmp_path), train=sets))

    people = merge(read_training_sets(recipe))

    # AI Challenger has no eyes and ears; its last but one is the head's top, its third the right wrist.
    assert people.counted[0].all()
    assert np.flatnonzero(~people.counted[1]).tolist() == [1, 2, 3, 4]
    assert people.keypoints_image[1, [NOSE, RIGHT_WRIST]].tolist() == [[22, 32, 2], [12, 22, 2]]
    assert [str(people.images[index]) for index in people.image_index] == [
        str(tmp_path / "images" / name) for name in ("seven.jpg", "b.jpg")
    ]


def test_keypoints_that_a_person_s_labels_ignore_count_neither_as_labeled_nor_as_absent(tmp_path: Path):
    write_annotations(
        tmp_path / "people.json",
        [person(1, 7, {"nose": (1, 1, 2)}, ignored_keypoints=["left_wrist"]), person(2, 7, {"nose": (1, 1, 2)})],
        IMAGES,
    )

    people = read_people_set(PeopleSetConfig(annotations="people.json"), tmp_path, COCO_17)

    assert np.argwhere(~people.counted).tolist() == [[0, LEFT_WRIST]]


def test_ignored_keypoints_go_by_the_set_s_own_names(tmp_path: Path):
    names = ["tip" if name == "nose" else name.replace("left_", "L ") for name in COCO_17.keypoints]
    annotation = person(1, 7, {"left_hip": (1, 1, 2)}, ignored_keypoints=["tip", "L wrist"])
    write_annotations(tmp_path / "people.json", [annotation], IMAGES, keypoint_names=names)

    config = PeopleSetConfig(annotations="people.json", keypoint_names={"tip": "nose"})
    people = read_people_set(config, tmp_path, COCO_17)

    assert np.argwhere(~people.counted).tolist() == [[0, NOSE], [0, LEFT_WRIST]]


def test_an_ignored_keypoint_that_does_not_exist_is_named(tmp_path: Path):
    annotation = person(5, 7, {"nose": (1, 1, 2)}, ignored_keypoints=["left_wing"])
    write_annotations(tmp_path / "people.json", [annotation], IMAGES)

    with pytest.raises(
        AnnotationError, match="ignored_keypoints of annotation 5: there is no keypoint 'left_wing'; there are nose"
    ):
        read_people_set(PeopleSetConfig(annotations="people.json"), tmp_path, COCO_17)
