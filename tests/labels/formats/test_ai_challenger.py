import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mspn.errors import AnnotationError
from mspn.labels.formats.coco import read_coco, write_coco
from mspn.labels.formats.public_datasets import read_ai_challenger, write_ai_challenger
from mspn.structures.boxes import Box
from mspn.structures.skeleton import AI_CHALLENGER_14
from tests.labels.label_sets import assert_same, assert_same_people, two_people


def keypoints(**changes: int) -> list[int]:
    """(100, 200), (101, 201), ... all visible; other visibilities by position."""
    visibility = [changes.get(f"at_{index}", 1) for index in range(14)]
    return [number for index in range(14) for number in (100 + index, 200 + index, visibility[index])]


def image(**changes: Any) -> dict[str, Any]:
    return {
        "image_id": "0a1b",
        "url": "http://example.org/a.jpg",
        "human_annotations": {"human10": [5, 6, 7, 8], "human2": [0, 7, 260, 952]},
        "keypoint_annotations": {"human2": keypoints(at_1=2, at_2=3), "human10": keypoints()},
    } | changes


def write(path: Path, *images: dict[str, Any]) -> Path:
    path.write_text(json.dumps(images or (image(),)))
    return path


def test_boxes_are_corners_and_visibility_is_turned_round(tmp_path: Path):
    labels = read_ai_challenger(write(tmp_path / "keypoints.json"))

    second, tenth = labels.people
    assert labels.skeleton is AI_CHALLENGER_14
    assert [(image.id, image.file_name) for image in labels.images] == [(1, "0a1b.jpg")]
    assert (second.extra["human"], tenth.extra["human"]) == ("human2", "human10")
    assert second.box == Box(0, 7, 260, 945)
    # Right shoulder visible, right elbow occluded, right wrist not labeled; the neck is the last.
    assert second.keypoints_image[:3].tolist() == [[100, 200, 2], [101, 201, 1], [102, 202, 0]]
    assert second.keypoints_image[AI_CHALLENGER_14.keypoints.index("neck")].tolist() == [113, 213, 2]


def test_reading_and_writing_loses_nothing(tmp_path: Path):
    nobody = image(image_id="b", human_annotations={}, keypoint_annotations={})
    path = write(tmp_path / "keypoints.json", image(), nobody)

    write_ai_challenger(read_ai_challenger(path), tmp_path / "written.json")

    assert json.loads((tmp_path / "written.json").read_text()) == json.loads(path.read_text())


def test_labels_pass_through_coco_without_loss(tmp_path: Path):
    labels = read_ai_challenger(write(tmp_path / "keypoints.json"))

    write_coco(labels, tmp_path / "coco.json")
    write_ai_challenger(read_coco(tmp_path / "coco.json"), tmp_path / "back.json")

    assert_same(read_ai_challenger(tmp_path / "back.json"), labels)


def test_labels_of_others_come_back(tmp_path: Path):
    labels = two_people(AI_CHALLENGER_14)

    write_ai_challenger(labels, tmp_path / "keypoints.json")

    assert_same_people(read_ai_challenger(tmp_path / "keypoints.json"), labels)


def test_what_it_has_no_place_for_is_counted(tmp_path: Path, caplog):
    labels = two_people(AI_CHALLENGER_14, area=9.0, is_crowd=True)
    path = tmp_path / "keypoints.json"

    with caplog.at_level(logging.WARNING):
        write_ai_challenger(labels, path)

    assert f"{path}: crowds are left out, the format has none (2)" in caplog.text
    assert read_ai_challenger(path).people == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoint_annotations": {"human1": [1, 2, 3]}}, r"human1 of 0a1b has 3 keypoint numbers, not 3 x 14"),
        (
            {"keypoint_annotations": {"human1": keypoints(at_4=0)}},
            r"human1 of 0a1b has a visibility that is none of 1, 2, 3",
        ),
        (
            {"human_annotations": {"human1": [1, 2, 3]}},
            r"0\.human_annotations\.human1\.3: Field required; it must be",
        ),
        ({"keypoint_annotations": None}, r"0\.keypoint_annotations: Input should be a valid dictionary"),
    ],
)
def test_an_entry_of_another_form_is_named(changes: dict, message: str, tmp_path: Path):
    with pytest.raises(AnnotationError, match=rf"keypoints\.json: {message}"):
        read_ai_challenger(write(tmp_path / "keypoints.json", image(**changes)))
