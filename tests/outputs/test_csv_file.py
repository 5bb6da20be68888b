import csv
from pathlib import Path

from mspn.outputs.tables import CsvWriter
from tests.outputs.results import a_video, of_frame, of_image, unreadable


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_csv_has_a_row_for_each_keypoint(tmp_path: Path):
    writer = CsvWriter(tmp_path)

    writer.write(of_image("in/a.jpg"))
    writer.write(unreadable("in/b.jpg"))
    writer.close()

    rows = _rows(tmp_path)
    assert len(rows) == 17
    assert rows[1] == {
        "source": "in/a.jpg",
        "frame": "",
        "seconds": "",
        "person": "0",
        "track_id": "",
        "person_score": "0.6",
        "box_left": "1",
        "box_top": "2",
        "box_width": "30",
        "box_height": "40",
        "box_score": "0.8",
        "keypoint": "left_eye",
        "x": "2.0",
        "y": "3.0",
        "score": "0.75",
    }


def test_rows_of_frames_say_number_and_time_and_are_on_the_disk_at_once(tmp_path: Path):
    writer = CsvWriter(tmp_path)

    writer.write(of_frame(a_video("match.mp4"), 3, 0.12))

    row = _rows(tmp_path)[0]
    writer.close()
    assert (row["source"], row["frame"], row["seconds"]) == ("match.mp4", "3", "0.12")


def test_a_name_that_spreadsheets_would_take_for_a_formula_is_quoted(tmp_path: Path):
    writer = CsvWriter(tmp_path)
    names = ("=cmd|'/c calc'!A0.jpg", "+1.jpg", "-1.jpg", "@a.jpg", "a=b.jpg")

    for name in names:
        writer.write(of_image(name))
    writer.close()

    sources = [row["source"] for row in _rows(tmp_path)[::17]]
    assert sources == ["'=cmd|'/c calc'!A0.jpg", "'+1.jpg", "'-1.jpg", "'@a.jpg", "a=b.jpg"]


def test_an_image_without_people_has_one_row_of_its_own(tmp_path: Path):
    writer = CsvWriter(tmp_path)

    writer.write(of_image("a.jpg", poses=[]))
    writer.write(of_frame(a_video("match.mp4"), 3, 0.12))
    writer.close()

    rows = _rows(tmp_path)
    assert len(rows) == 1 + 17
    assert {name: value for name, value in rows[0].items() if value} == {"source": "a.jpg"}
