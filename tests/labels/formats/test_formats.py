import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from mspn.errors import AnnotationError
from mspn.labels.formats import FORMATS, read_labels, recognize_format, write_labels
from mspn.labels.label_set import LabeledSet
from mspn.structures.skeleton import COCO_17, LSP_14
from tests.coco_files import person, write_annotations
from tests.labels.formats.mat_structs import struct_array
from tests.labels.label_sets import two_people

pytestmark = pytest.mark.usefixtures("mat_files_read_here")

WRITTEN = [name for name, one in FORMATS.items() if one.write]


def place_of(name: str, folder: Path) -> Path:
    suffix = FORMATS[name].suffixes[0]
    return folder / "set" if name == "yolo" else folder / f"labels{suffix}"


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_is_recognized(name: str, tmp_path: Path):
    labels = two_people(COCO_17)
    path = place_of(name, tmp_path)
    if name == "crowdpose":
        labels = _with_crowd_index(labels)

    write_labels(labels, path, name)

    assert recognize_format(path) == name


def _with_crowd_index(labels: LabeledSet) -> LabeledSet:
    images = [type(one)(one.id, one.file_name, one.size, {"crowdIndex": 0.5}) for one in labels.images]
    return LabeledSet(labels.skeleton, images, labels.people)


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("lsp", {"joints": np.ones((3, 14, 2))}),
        ("mpii-mat", {"RELEASE": struct_array([{"annolist": 1, "img_train": 1}])}),
    ],
)
def test_matlab_files_are_told_apart_by_their_variables(name: str, variables: Mapping, tmp_path: Path):
    savemat(tmp_path / "a.mat", variables)

    assert recognize_format(tmp_path / "a.mat") == name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ochuman", {"keypoint_names": ["head"], "keypoint_visible": {"vis": 1}, "images": []}),
        ("coco", {"images": [], "annotations": [], "categories": []}),
        ("mpii", [{"image": "a.jpg", "center": [1, 2], "scale": 1.5}]),
        ("label-studio", [{"data": {"image": "a.jpg"}, "annotations": []}]),
    ],
)
def test_json_files_are_told_apart_by_what_stands_in_them(name: str, content: object, tmp_path: Path):
    (tmp_path / "a.JSON").write_text(json.dumps(content))

    assert recognize_format(tmp_path / "a.JSON") == name


def test_labels_of_a_format_that_is_told_are_read(tmp_path: Path):
    path = write_annotations(tmp_path / "a.json", [person(1, 7, {"nose": (1, 2, 2)})], {7: "a.jpg"})

    assert read_labels(path).people[0].keypoints_image[0].tolist() == [1, 2, 2]


def test_a_named_format_is_believed(tmp_path: Path):
    path = write_annotations(tmp_path / "a.json", [person(1, 7, {"nose": (1, 2, 2)})], {7: "a.jpg"})

    with pytest.raises(AnnotationError, match=r"it must be MPII in HRNet's JSON"):
        read_labels(path, "mpii")


def test_the_skeleton_says_what_the_format_does_not(tmp_path: Path):
    path = write_annotations(tmp_path / "a.json", [person(1, 7, {}, keypoints=[1, 2, 2] * 14)], {7: "a.jpg"}, [])

    assert read_labels(path, skeleton=LSP_14).skeleton is LSP_14


@pytest.mark.parametrize(
    ("name", "content", "candidates"),
    [
        ("a.json", "{}", "crowdpose, ochuman, coco, ai-challenger, mpii, label-studio"),
        ("a.xml", "<html/>", "cvat"),
        ("a.csv", "1,2", "crowdpose, .*, lsp"),
    ],
)
def test_what_looks_like_no_format_is_refused_with_the_candidates(
    name: str, content: str, candidates: str, tmp_path: Path
):
    (tmp_path / name).write_text(content)

    with pytest.raises(
        AnnotationError,
        match=rf"the format of .*{name} cannot be told; .* \(--from, or `format` of a set\): {candidates}$",
    ):
        read_labels(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"no file at .*nowhere\.json; check the path"):
        read_labels(tmp_path / "nowhere.json")


def test_an_unknown_format_is_refused_with_those_that_there_are(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"no format 'voc'; there are crowdpose, ochuman, coco, .*, lsp"):
        read_labels(tmp_path, "voc")


def test_a_format_that_is_only_read_cannot_be_written(tmp_path: Path):
    message = r"labels cannot be written as lsp; there are crowdpose, coco, ai-challenger, mpii, .*, yolo"

    with pytest.raises(AnnotationError, match=message):
        write_labels(two_people(LSP_14), tmp_path / "joints.mat", "lsp")


def test_coco_says_nothing_when_it_is_written(tmp_path: Path, caplog):
    # It has a place for everything.
    with caplog.at_level(logging.WARNING):
        write_labels(two_people(COCO_17, area=2.0, extra={"anything": [1]}), tmp_path / "a.json", "coco")

    assert caplog.text == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_format_is_recognized_in_every_encoding_of_json(encoding: str, tmp_path: Path):
    path = write_annotations(tmp_path / "people.json", [person(1, 1, {"nose": (1, 1, 2)})], {1: "a.jpg"})
    path.write_bytes(path.read_text().encode(encoding))

    assert len(read_labels(path).people) == 1


def test_labels_lead_outside_the_folder_of_images_only_if_allowed(tmp_path: Path):
    for name in ("../secret.jpg", "/etc/secret.jpg", "a/../../secret.jpg"):
        path = write_annotations(tmp_path / "people.json", [person(1, 1, {"nose": (1, 1, 2)})], {1: name})

        with pytest.raises(AnnotationError, match=r"people\.json names the image '.*secret\.jpg', which is outside"):
            read_labels(path)
        assert read_labels(path, allow_outside=True).images[0].file_name == name


def test_a_format_without_categories_has_none_to_choose(tmp_path: Path):
    (tmp_path / "a.json").write_text('[{"image": "a.jpg", "center": [1, 1], "scale": 1}]')

    with pytest.raises(AnnotationError, match=r"MPII in HRNet's JSON, which has no categories to choose 'dog' from"):
        read_labels(tmp_path / "a.json", category="dog")
