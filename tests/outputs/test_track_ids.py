"""The number of a person's track is in every format that has a place for it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mspn.outputs import make_writer
from mspn.outputs.adapters import poses_to_supervision_detections, to_dataframe
from mspn.outputs.journal import Journal, JournalReader
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box
from mspn.structures.skeleton import COCO_17
from mspn.visualize.draw import draw_poses
from tests.outputs.results import a_pose, a_video, of_frame


def _two_people() -> ImageResult:
    """Of track 7, and of none."""
    frame = of_frame(a_video("match.mp4"), 3, 0.12)
    return ImageResult(frame.source, frame.image, [replace(a_pose(), track_id=7), a_pose()], [])


def _write(name: str, folder: Path) -> None:
    writer = make_writer(name, folder)
    writer.write(_two_people())
    writer.close()


def test_json_has_the_track_of_those_who_have_one(tmp_path: Path):
    _write("jsonl", tmp_path)

    first, second = json.loads((tmp_path / "predictions.jsonl").read_text())["people"]
    assert first["track_id"] == 7
    assert "track_id" not in second


def test_coco_results_have_the_track_of_those_who_have_one(tmp_path: Path):
    _write("coco", tmp_path)

    first, second = json.loads((tmp_path / "coco.json").read_text())
    assert first["track_id"] == 7
    assert "track_id" not in second


def test_tables_have_a_column_of_tracks(tmp_path: Path):
    _write("csv", tmp_path)

    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["track_id"] for row in rows] == ["7"] * 17 + [""] * 17


def test_parquet_has_whole_numbers_of_tracks(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")

    _write("parquet", tmp_path)

    assert parquet.read_table(tmp_path / "predictions.parquet")["track_id"].to_pylist() == [7] * 17 + [None] * 17


def test_data_frames_have_whole_numbers_of_tracks():
    pytest.importorskip("pandas")

    assert str(to_dataframe([_two_people()]).track_id.dtype) == "Int64"


def test_supervision_gets_tracks_where_all_have_one():
    pytest.importorskip("supervision")
    tracked, other = _two_people().poses

    assert poses_to_supervision_detections([tracked]).tracker_id.tolist() == [7]
    assert poses_to_supervision_detections([tracked, other]).tracker_id is None
    assert poses_to_supervision_detections([]).tracker_id is None


def test_the_journal_keeps_tracks(tmp_path: Path):
    with Journal(tmp_path, {}, COCO_17, resume=False) as journal:
        journal.append(_two_people())

    (result,) = JournalReader(tmp_path).results()
    assert [pose.track_id for pose in result.poses] == [7, None]


def test_a_pose_says_its_track():
    assert repr(replace(a_pose(), track_id=7)).startswith("Pose(track_id=7, score=0.60")


def test_the_number_of_a_track_is_drawn_above_its_person():
    black = np.zeros((200, 160, 3), np.uint8)
    person = replace(a_pose(), box=Box(40, 60, 80, 120), keypoints_image=np.add(a_pose().keypoints_image, (40, 70)))

    without, numbered = (draw_poses(black, [replace(person, track_id=track)]) for track in (None, 7))

    changed = np.argwhere((without != numbered).any(2))
    assert len(changed)
    # Over the middle of the box, which begins at row 60.
    assert 40 < changed[:, 0].min() < changed[:, 0].max() < 62
    assert abs(changed[:, 1].mean() - 80) < 3


def test_people_keep_the_colors_of_their_tracks_when_they_change_places():
    black = np.zeros((60, 200, 3), np.uint8)
    here, there = (
        a_pose(),
        replace(a_pose(), keypoints_image=np.add(a_pose().keypoints_image, (100, 0)), box=Box(100, 2, 30, 40)),
    )

    before = draw_poses(black, [replace(here, track_id=1), replace(there, track_id=2)], "people")
    after = draw_poses(black, [replace(here, track_id=2), replace(there, track_id=1)], "people")

    np.testing.assert_array_equal(before[30:, :100], after[30:, 100:])
    assert (before[30:, :100] != after[30:, :100]).any()
