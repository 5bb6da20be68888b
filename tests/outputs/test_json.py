import json
from pathlib import Path

import pytest

from mspn.outputs.tables import JsonLinesWriter, JsonWriter
from tests.full_disk import full_disk
from tests.outputs.results import a_video, of_frame, of_image, unreadable


def test_predictions_json_has_named_keypoints(tmp_path: Path):
    writer = JsonWriter(tmp_path)

    writer.write(of_image("in/a.jpg"))
    writer.close()

    (row,) = json.loads((tmp_path / "predictions.json").read_text())
    assert (row["source"], row["width"], row["height"]) == ("in/a.jpg", 50, 60)
    (person,) = row["people"]
    assert (person["box"], person["box_score"], person["score"]) == ([1, 2, 30, 40], 0.8, 0.6)
    assert person["keypoints"]["nose"] == [0, 1, 0.75]
    assert person["keypoints"]["right_ankle"] == [32, 33, 0.75]
    assert "frame" not in row


def test_nobody_is_an_empty_list_and_what_could_not_be_read_no_row(tmp_path: Path):
    writer = JsonWriter(tmp_path)

    writer.write(unreadable("in/b.jpg"))
    writer.write(of_image("in/a.jpg", poses=[]))
    writer.close()

    rows = json.loads((tmp_path / "predictions.json").read_text())
    assert rows == [{"source": "in/a.jpg", "width": 50, "height": 60, "people": []}]


def test_without_results_there_is_an_empty_list(tmp_path: Path):
    JsonWriter(tmp_path).close()

    assert json.loads((tmp_path / "predictions.json").read_text()) == []


def test_frames_say_where_in_their_video_they_are(tmp_path: Path):
    writer = JsonWriter(tmp_path)

    writer.write(of_frame(a_video("match.mp4"), 3, 0.12))
    writer.close()

    (row,) = json.loads((tmp_path / "predictions.json").read_text())
    assert (row["source"], row["frame"], row["seconds"]) == ("match.mp4", 3, 0.12)


def test_predictions_json_appears_when_it_is_whole_and_grows_on_the_disk_until_then(tmp_path: Path):
    writer = JsonWriter(tmp_path)
    writer.write(of_image("a.jpg"))

    (hidden,) = tmp_path.iterdir()
    growing = hidden / "predictions.json"
    assert growing.stat().st_size > 500

    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]


def test_lines_hold_the_same_objects_each_on_the_disk_at_once(tmp_path: Path):
    whole, lines = JsonWriter(tmp_path), JsonLinesWriter(tmp_path)
    results = [of_image("a.jpg"), unreadable("b.jpg"), of_frame(a_video("match.mp4"), 0, 0.0)]
    for result in results:
        whole.write(result)
        lines.write(result)

    written = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]

    whole.close()
    lines.close()
    assert written == json.loads((tmp_path / "predictions.json").read_text())
    assert len(written) == 2


@pytest.mark.parametrize("name", ["predictions.json", "predictions.jsonl"])
def test_on_a_full_disk_the_rows_before_stay_whole(tmp_path: Path, name: str):
    writer = JsonWriter(tmp_path) if name == "predictions.json" else JsonLinesWriter(tmp_path)

    # A row has some 700 bytes.
    with full_disk(1500):
        writer.write(of_image("a.jpg"))
        writer.write(of_image("b.jpg"))
        with pytest.raises(OSError, match=rf"could not write .*{name} \(.*\); is there room on the disk\?"):
            writer.write(of_image("c.jpg"))
        writer.close()

    text = (tmp_path / name).read_text()
    rows = json.loads(text) if name == "predictions.json" else [json.loads(line) for line in text.splitlines()]
    assert [row["source"] for row in rows] == ["a.jpg", "b.jpg"]
