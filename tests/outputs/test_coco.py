import json
from pathlib import Path

import pytest

from mspn.outputs.coco import CocoWriter
from tests.outputs.results import a_video, of_frame, of_image


def _rows(folder: Path) -> list[dict]:
    return json.loads((folder / "coco.json").read_text())


def test_coco_json_is_a_results_list_whose_ids_come_from_the_file_names(tmp_path: Path):
    writer = CocoWriter(tmp_path)

    writer.write(of_image("in/12.jpg"))
    writer.write(of_image("in/000000000036.jpg"))
    writer.close()

    first, second = _rows(tmp_path)
    assert (first["image_id"], second["image_id"]) == (12, 36)
    assert (second["category_id"], second["score"], second["file_name"]) == (1, 1.0, "000000000036.jpg")
    assert second["keypoints"][:6] == [0, 1, 0.75, 2, 3, 0.75]
    assert [path.name for path in tmp_path.iterdir()] == ["coco.json"]


@pytest.mark.parametrize("names", [("2.jpg", "a.jpg"), ("one/1.jpg", "two/1.jpg"), ("1.jpg", "01.jpg")])
def test_coco_ids_are_places_where_the_file_names_give_no_distinct_numbers(tmp_path: Path, names: tuple[str, str]):
    writer = CocoWriter(tmp_path)

    for name in names:
        writer.write(of_image(name))
    writer.close()

    assert [row["image_id"] for row in _rows(tmp_path)] == [1, 2]


def test_frames_without_anybody_count_as_places_too(tmp_path: Path):
    writer = CocoWriter(tmp_path)
    video = a_video("7.mp4")

    writer.write(of_image("a.jpg", poses=[]))
    writer.write(of_frame(video, 0, 0.0))
    writer.write(of_frame(video, 1, 0.04))
    writer.close()

    rows = _rows(tmp_path)
    assert [row["image_id"] for row in rows] == [2, 3]
    assert (rows[1]["file_name"], rows[1]["frame"], rows[1]["seconds"]) == ("7.mp4", 1, 0.04)
