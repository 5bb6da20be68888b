import json
from pathlib import Path

import pytest

from mspn.errors import AnnotationError
from mspn.outputs.annotations import CocoWriter, read_image_ids
from mspn.sources.resolve import Shard
from tests.outputs.results import a_video, of_frame, of_image, unreadable


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


def test_ids_of_an_annotation_file_are_taken_by_file_name(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    ids = {"a/1.jpg": 70, "b/1.jpg": 80, "2.jpg": 90}
    writer = CocoWriter(tmp_path, Path("in"), ids)

    for name in ("in/b/1.jpg", "in/a/1.jpg", "in/c/2.jpg", "in/c/3.jpg"):
        writer.write(of_image(name))
    writer.close()

    assert [(row["image_id"], row["file_name"]) for row in _rows(tmp_path)] == [
        (80, "b/1.jpg"),
        (70, "a/1.jpg"),
        (90, "c/2.jpg"),
    ]
    assert "in/c/3.jpg is not among the images of the annotation file" in caplog.text


def test_the_annotation_file_may_name_images_as_the_run_does(tmp_path: Path):
    ids = {"/photos/1.jpg": 70, "http://host/2.jpg?size=9": 80}
    writer = CocoWriter(tmp_path, Path("/photos"), ids)

    for name in ids:
        writer.write(of_image(name))
    writer.write(of_frame(a_video("http://host/2.jpg?size=9"), 0, 0.0))
    writer.close()

    # A frame is not the image of its video's name.
    assert [row["image_id"] for row in _rows(tmp_path)] == [70, 80]


def test_places_in_shards_are_different_and_those_of_the_whole_run(tmp_path: Path):
    ids = {}
    for number in (1, 2, 3):
        writer = CocoWriter(tmp_path, shard=Shard(number, 3))
        for name in list("abcdefg")[number - 1 :: 3]:
            writer.write(of_image(f"{name}.jpg"))
        writer.close()
        ids |= {row["file_name"]: row["image_id"] for row in _rows(tmp_path)}

    assert ids == {"a.jpg": 1, "b.jpg": 2, "c.jpg": 3, "d.jpg": 4, "e.jpg": 5, "f.jpg": 6, "g.jpg": 7}


def test_what_cannot_be_read_takes_no_place(tmp_path: Path):
    writer = CocoWriter(tmp_path)

    writer.write(unreadable("a.jpg"))
    writer.write(of_image("b.jpg"))
    writer.close()

    assert [row["image_id"] for row in _rows(tmp_path)] == [1]


@pytest.mark.parametrize(
    "content", ["[]", '{"a.jpg": []}', '{"annotations": []}', '{"annotations": [], "images": [1]}']
)
def test_a_file_without_image_ids_is_refused(tmp_path: Path, content: str):
    (tmp_path / "labels.json").write_text(content)

    with pytest.raises(AnnotationError, match=r"labels\.json.* id .*file_name"):
        read_image_ids(tmp_path / "labels.json")
