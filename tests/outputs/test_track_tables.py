import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspn.errors import InvalidValueError, MissingFileError, TracksError
from mspn.outputs.tables import JsonLinesWriter, JsonWriter
from mspn.outputs.track_tables import read_tracks, write_table
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box, Size
from mspn.structures.image import FrameInfo, Image, Video
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17, Skeleton
from mspn.tracking.tracks import Track, VideoTracks

ARM = Skeleton(name="arm", keypoints=("left_elbow", "=right_elbow"))


def line(frame: int | None = 0, *track_ids: int | None, source: str = "match.mp4", **changes: Any) -> str:
    """A line of predictions.jsonl in which person i has its two keypoints at (10 i + frame, 5) and (10 i, 7)."""
    people = [
        {
            **({} if track_id is None else {"track_id": track_id}),
            "keypoints": {"left_elbow": [10 * (track_id or 0) + (frame or 0), 5, 0.5], "wrist": [10, 7, 0.25]},
        }
        for track_id in track_ids
    ]
    place = {} if frame is None else {"frame": frame, "seconds": frame / 10}
    return json.dumps({"source": source, **place, "width": 8, "height": 6, "people": people, **changes}) + "\n"


def write_lines(folder: Path, *lines: str) -> Path:
    path = folder / "predictions.jsonl"
    path.write_text("".join(lines))
    return path


def small_video() -> VideoTracks:
    frames, seconds = np.array([3, 4, 6]), np.array([0.12, 0.16, 0.24])
    keypoints = np.array([[[1.25, 2.5], [np.nan, np.nan]], [[3.0, 4.0], [5.0, 6.75]]])
    scores, filled = np.array([[0.5, 0.0], [0.25, 0.125]]), np.array([[False, False], [True, False]])
    first = Track(2, frames[:2], seconds[:2], keypoints, scores, filled)
    second = Track(7, frames[1:], seconds[1:], keypoints + 100, scores, ~filled)
    return VideoTracks("", ARM, frames, seconds, (first, second))


def assert_equal(video: VideoTracks, expected: VideoTracks) -> None:
    assert video.skeleton.keypoints == expected.skeleton.keypoints
    np.testing.assert_array_equal(video.frames, expected.frames)
    np.testing.assert_array_equal(video.seconds, expected.seconds)
    assert [track.track_id for track in video.tracks] == [track.track_id for track in expected.tracks]
    for track, expected_track in zip(video.tracks, expected.tracks, strict=True):
        for name in ("frames", "seconds", "keypoints", "scores", "filled"):
            np.testing.assert_array_equal(getattr(track, name), getattr(expected_track, name), name)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_is_read_as_it_was_written(tmp_path: Path, kind: str):
    path = write_table(small_video(), tmp_path, kind)

    assert path.name == f"tracks.{kind}"
    assert_equal(read_tracks(path), small_video())
    assert_equal(read_tracks(tmp_path), small_video())


def test_a_csv_table_has_a_row_for_each_keypoint_and_runs_no_formula(tmp_path: Path):
    text = write_table(small_video(), tmp_path, "csv").read_text()

    assert text.splitlines()[:4] == [
        "frame,seconds,track,keypoint,x,y,score,filled",
        "3,0.12,2,left_elbow,1.25,2.5,0.5,0",
        "3,0.12,2,'=right_elbow,,,0.0,0",
        "4,0.16,2,left_elbow,3.0,4.0,0.25,1",
    ]


def test_rows_of_a_table_may_have_any_order(tmp_path: Path):
    path = write_table(small_video(), tmp_path, "csv")
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(rows)]) + "\n")

    (first, _) = read_tracks(path).tracks

    # Names are in the order in which they come: the last row's is =right_elbow.
    np.testing.assert_array_equal(first.keypoints[:, ::-1], small_video().tracks[0].keypoints)


def test_known_skeletons_are_recognized_in_any_order(tmp_path: Path):
    names = sorted(COCO_17.keypoints)
    people = [{"track_id": 1, "keypoints": {name: [index, 0, 1] for index, name in enumerate(names)}}]
    path = write_lines(tmp_path, line(0, people=people))

    video = read_tracks(path)

    assert video.skeleton == COCO_17
    assert video.tracks[0].keypoints[0, :, 0].tolist() == [names.index(name) for name in COCO_17.keypoints]


@pytest.mark.parametrize("writer", [JsonWriter, JsonLinesWriter])
def test_predictions_of_a_video_are_read(tmp_path: Path, writer: type[JsonWriter] | type[JsonLinesWriter]):
    video = Video("\udcff.mp4", Size(6, 8), None, None, is_live=False)
    open_writer = writer(tmp_path)
    for frame in range(3):
        points = np.full((17, 2), 1.5 + frame)
        pose = Pose(COCO_17, points, np.full(17, 0.5), 0.5, 0.5, Box(0, 0, 8, 6), 1.0, track_id=4)
        image = Image(video.source, np.zeros((6, 8, 3), np.uint8), FrameInfo(video, frame, frame / 25))
        open_writer.write(ImageResult(video.source, image, [pose] if frame != 1 else [], []))
    open_writer.close()

    read = read_tracks(tmp_path)

    assert read.source == "\udcff.mp4"
    assert read.skeleton == COCO_17
    assert read.seconds.tolist() == [0.0, 0.04, 0.08]
    (track,) = read.tracks
    assert (track.track_id, track.frames.tolist()) == (4, [0, 2])
    assert track.keypoints[:, 3].tolist() == [[1.5, 1.5], [3.5, 3.5]]
    assert not track.filled.any()


def test_a_folder_is_read_from_its_predictions_or_else_from_its_latest_table(tmp_path: Path):
    pytest.importorskip("pyarrow")
    video = small_video()
    write_table(video, tmp_path, "parquet")
    latest = write_table(replace(video, tracks=video.tracks[1:]), tmp_path, "csv")
    os.utime(latest, (2e9, 2e9))

    assert [track.track_id for track in read_tracks(tmp_path).tracks] == [7]
    write_lines(tmp_path, line(0, 1))
    assert [track.track_id for track in read_tracks(tmp_path).tracks] == [1]


def test_some_of_the_tracks_are_read(tmp_path: Path):
    path = write_lines(tmp_path, line(0, 1, 2, 3), line(1, 3), line(2), line(None, None, source="photo.jpg"))

    video = read_tracks(path, track_ids=[3])

    assert [track.track_id for track in video.tracks] == [3]
    assert video.tracks[0].keypoints[:, 0, 0].tolist() == [30, 31]
    assert video.frames.tolist() == [0, 1, 2]
    with pytest.raises(TracksError, match=r"no track 4, 8 in .*predictions.jsonl; it has 1, 2, 3"):
        read_tracks(path, track_ids=[3, 8, 4])


def test_one_of_several_videos_is_named(tmp_path: Path):
    path = write_lines(tmp_path, line(0, 1, source="a/b.mp4"), line(0, 2, source="c.mp4"))

    for name in ("b.mp4", "a/b.mp4"):
        assert [track.track_id for track in read_tracks(path, name).tracks] == [1]
    with pytest.raises(TracksError, match=r"of several videos, such as a/b.mp4 and c.mp4; choose one by --source"):
        read_tracks(path)
    with pytest.raises(TracksError, match=r"no results of 'd.mp4'"):
        read_tracks(path, "d.mp4")


def test_a_line_that_was_cut_short_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = write_lines(tmp_path, line(0, 1), line(1, 1), line(2, 1)[:40])

    with caplog.at_level(logging.WARNING):
        assert read_tracks(path).frames.tolist() == [0, 1]
    assert "predictions.jsonl: its last line was cut short; mspn predict --resume finishes it" in caplog.text


def test_time_stamps_that_do_not_rise_are_moved_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = write_lines(tmp_path, line(0, 1), line(1, 1, seconds=0.2), line(2, 1, seconds=0.2), line(3, 1))

    assert read_tracks(path).seconds.tolist() == pytest.approx([0.0, 0.2, 0.201, 0.3])
    assert "time stamps of frames do not rise" in caplog.text


def test_keypoints_that_are_no_numbers_are_missing(tmp_path: Path):
    people = [{"track_id": 1, "keypoints": {"a": [float("nan"), 1, 1], "b": [1e300, 1, float("nan")], "c": [1, 2, 1]}}]

    (track,) = read_tracks(write_lines(tmp_path, line(0, people=people))).tracks

    np.testing.assert_array_equal(track.keypoints[0], [[np.nan, np.nan], [np.nan, np.nan], [1, 2]])
    assert track.scores.tolist() == [[1, 0, 1]]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "has no results of a video"),
        ([line(None, None, source="photo.jpg")], "has no results of a video"),
        ([line(0), line(1)], "nobody was followed in match.mp4"),
        ([line(0, None), line(1, None)], "have no track ids; predict the video again, without --no-track"),
        ([line(0, 1), "{}\n"], "line 2, is no result of mspn predict"),
        ([line(0, 1), "[1, 2]\n"], "line 2, is no result of mspn predict"),
        ([line(0, 1), line(1, people=3)], "line 2, is no result of mspn predict .people: "),
        ([line(0, 1), line(0, 1)], "has track 1 twice in frame 0"),
        ([line(0, 2**70)], "has a number that no frame or track has"),
        ([line(0, people=[{"track_id": 1, "keypoints": {str(i): [1, 1, 1] for i in range(1001)}}])], "more than 1000"),
    ],
)
def test_what_is_wrong_with_predictions_is_told(tmp_path: Path, lines: list[str], problem: str):
    with pytest.raises(TracksError, match=problem):
        read_tracks(write_lines(tmp_path, *lines))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no column frame, seconds, track, keypoint, x, y, score, filled"),
        ("a,b\n1,2\n", "has no column frame"),
        ("frame,seconds,track,keypoint,x,y,score,filled\n", "nobody was followed"),
        ("frame,seconds,track,keypoint,x,y,score,filled\n0,0,1,nose,1,2,1,0\n0,0,1\n", "line 3: "),
        ("frame,seconds,track,keypoint,x,y,score,filled\n0,0,1,nose,one,2,1,0\n", "line 2: .*'one'"),
        (
            "frame,seconds,track,keypoint,x,y,score,filled\n0,nan,1,nose,1,2,1,0\n",
            "frame 0 at nan seconds, which is no time",
        ),
        ("frame,seconds,track,keypoint,x,y,score,filled\n0,0,1,nose,1,2,1,0\n0,0,1,nose,1,2,1,0\n", "twice in frame 0"),
        ("\x00\xff", "has no column|line"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path: Path, text: str, problem: str):
    path = tmp_path / "tracks.csv"
    path.write_text(text, encoding="latin-1")

    with pytest.raises(TracksError, match=problem):
        read_tracks(path)


def test_what_is_no_parquet_or_has_other_columns_is_told(tmp_path: Path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "tracks.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(TracksError, match="cannot be read as Parquet"):
        read_tracks(path)
    parquet.write_table(pyarrow.table({"frame": [1]}), path)
    with pytest.raises(TracksError, match="has no column seconds, track"):
        read_tracks(path)


@pytest.mark.parametrize("column", ["frame", "seconds", "track", "keypoint", "filled"])
def test_parquet_without_a_value_is_told(tmp_path: Path, column: str):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"frame": [0], "seconds": [0.0], "track": [3], "keypoint": ["nose"], "filled": [False]}
    places = {name: pyarrow.array([None], pyarrow.float64()) for name in ("x", "y", "score")}
    path = tmp_path / "tracks.parquet"
    parquet.write_table(pyarrow.table({**columns, **places}), path)
    assert np.isnan(read_tracks(path).tracks[0].keypoints).all()
    parquet.write_table(pyarrow.table({**columns, **places, column: [None]}), path)

    with pytest.raises(TracksError, match=f"tracks.parquet has a row without {column}; write it anew"):
        read_tracks(path)


def test_folders_and_files_without_tracks_are_refused(tmp_path: Path):
    with pytest.raises(MissingFileError, match=r"no predictions.jsonl nor predictions.json nor tracks.csv nor"):
        read_tracks(tmp_path)
    with pytest.raises(MissingFileError, match=r"no file or folder at"):
        read_tracks(tmp_path / "none")
    (tmp_path / "match.mp4").touch()
    with pytest.raises(TracksError, match=r"match.mp4 has no tracks"):
        read_tracks(tmp_path / "match.mp4")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)

    with pytest.raises(InvalidValueError, match=r"tracks.parquet needs pyarrow; pip install 'mspn\[parquet\]'"):
        write_table(small_video(), tmp_path, "parquet")
