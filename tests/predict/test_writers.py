import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.picture import Picture
from mspn.predict.pipeline import PictureResult
from mspn.predict.writers import CocoWriter, CsvWriter, ImageWriter, JsonWriter
from mspn.records import Box, Pose
from mspn.skeleton import COCO_17


def _result(source: str) -> PictureResult:
    keypoints = np.arange(34, dtype=float).reshape(17, 2)
    scores = np.full(17, 0.75)
    pose = Pose(COCO_17, keypoints, scores, 0.6, 1.0, Box(1, 2, 30, 40), 0.8)
    return PictureResult(source, Picture(source, np.zeros((60, 50, 3), np.uint8)), [pose], [])


def test_predictions_json_has_named_keypoints(tmp_path: Path):
    writer = JsonWriter(tmp_path)

    writer.write(_result("in/a.jpg"))
    writer.close()

    (row,) = json.loads((tmp_path / "predictions.json").read_text())
    assert (row["source"], row["width"], row["height"]) == ("in/a.jpg", 50, 60)
    (person,) = row["people"]
    assert (person["box"], person["box_score"], person["score"]) == ([1, 2, 30, 40], 0.8, 0.6)
    assert person["keypoints"]["nose"] == [0, 1, 0.75]
    assert person["keypoints"]["right_ankle"] == [32, 33, 0.75]


def test_coco_json_is_a_results_list_whose_ids_come_from_the_file_names(tmp_path: Path):
    writer = CocoWriter(tmp_path)

    writer.write(_result("in/12.jpg"))
    writer.write(_result("in/000000000036.jpg"))
    writer.close()

    first, second = json.loads((tmp_path / "coco.json").read_text())
    assert (first["image_id"], second["image_id"]) == (12, 36)
    assert (second["category_id"], second["score"], second["file_name"]) == (1, 1.0, "000000000036.jpg")
    assert second["keypoints"][:6] == [0, 1, 0.75, 2, 3, 0.75]


@pytest.mark.parametrize("names", [("2.jpg", "a.jpg"), ("one/1.jpg", "two/1.jpg"), ("1.jpg", "01.jpg")])
def test_coco_ids_are_places_where_the_file_names_give_no_distinct_numbers(tmp_path: Path, names: tuple[str, str]):
    writer = CocoWriter(tmp_path)

    for name in names:
        writer.write(_result(name))
    writer.close()

    assert [row["image_id"] for row in json.loads((tmp_path / "coco.json").read_text())] == [1, 2]


def test_predictions_csv_has_a_row_for_each_keypoint(tmp_path: Path):
    writer = CsvWriter(tmp_path)

    writer.write(_result("in/a.jpg"))
    writer.close()

    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 17
    assert rows[1] == {
        "source": "in/a.jpg",
        "person": "0",
        "person_score": "0.6",
        "keypoint": "left_eye",
        "x": "2.0",
        "y": "3.0",
        "score": "0.75",
    }


def test_pictures_of_the_same_name_do_not_overwrite_each_other(tmp_path: Path):
    writer = ImageWriter(tmp_path)

    writer.write(_result("in/a.jpg"))
    writer.write(_result("other/a.png"))

    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["a-2.jpg", "a.jpg"]
    assert cv2.imread(str(tmp_path / "images" / "a.jpg")).max() > 0


def test_a_source_that_could_not_be_read_leaves_no_row(tmp_path: Path):
    writer = JsonWriter(tmp_path)

    writer.write(PictureResult("in/b.jpg", None, [], ["not a picture"]))
    writer.close()

    assert json.loads((tmp_path / "predictions.json").read_text()) == []
