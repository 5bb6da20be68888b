import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mspn.errors import FileError, InvalidValueError, TracksError
from mspn.outputs.track_exports import export_tracks, to_movement
from mspn.structures.skeleton import COCO_17, Skeleton
from mspn.tracking.tracks import Track, VideoTracks
from tests.walking_figure import HEIGHT_PX, walk

SECONDS = np.arange(40) / 20


def walking_video(seconds: np.ndarray = SECONDS) -> VideoTracks:
    """Two people: one in all frames but 5 and 6, one in the first two, who has no nose."""
    keypoints = walk(seconds).keypoints
    frames = np.arange(len(seconds))
    scores, filled = np.full(keypoints.shape[:2], 0.5), np.zeros(keypoints.shape[:2], bool)
    whole = Track(3, frames, seconds, keypoints, scores, filled)
    other = Track(9, frames, seconds, keypoints + 7, scores, filled).select_frames(frames < 2)
    other.keypoints[:, 0] = np.nan
    return VideoTracks("a/match.mp4", COCO_17, frames, seconds, (whole.select_frames(~np.isin(frames, [5, 6])), other))


def test_openpose_has_a_file_for_each_frame(tmp_path: Path):
    video = walking_video()

    assert export_tracks(video, tmp_path, ["openpose"], None) == [tmp_path / "openpose"]

    paths = sorted((tmp_path / "openpose").iterdir())
    assert [path.name for path in paths[:2]] == [
        "match_000000000000_keypoints.json",
        "match_000000000001_keypoints.json",
    ]
    assert len(paths) == 40
    first, second = json.loads(paths[1].read_text())["people"]
    assert (first["person_id"], second["person_id"]) == ([3], [9])
    x, y = video.tracks[0].keypoints[1, 0].round(2).tolist()
    assert first["pose_keypoints_2d"][:3] == [x, y, 0.5]
    assert len(first["pose_keypoints_2d"]) == 51
    assert second["pose_keypoints_2d"][:3] == [0, 0, 0]
    assert json.loads(paths[5].read_text())["people"] == []
    with pytest.raises(FileError, match="openpose already holds files"):
        export_tracks(video, tmp_path, ["openpose"], None)


def read_trc(path: Path) -> tuple[list[str], np.ndarray]:
    """The line of rates and units, and the numbers below the head, NaN where a cell is empty."""
    lines = path.read_text().split("\n")
    cells = [[float(cell or "nan") for cell in line.split("\t")] for line in lines[6:-1]]
    return lines[2].split("\t"), np.array(cells)


def test_trc_is_in_meters_with_y_up(tmp_path: Path):
    video = walking_video()

    paths = export_tracks(video, tmp_path, ["trc"], 2.0)

    assert [path.name for path in paths] == ["track-3.trc", "track-9.trc"]
    head, rows = read_trc(paths[0])
    assert head == ["20", "20", "40", "17", "m", "20", "0", "40"]
    np.testing.assert_allclose(rows[:, 1], SECONDS)
    keypoints = walk(SECONDS).keypoints / HEIGHT_PX * 2.0
    seen = np.array([frame not in (5, 6) for frame in range(40)])
    nose = rows[:, 2:5]
    np.testing.assert_allclose(nose[seen, 0], keypoints[seen, 0, 0], atol=1e-4)
    np.testing.assert_allclose(nose[seen, 1], keypoints[seen, :, 1].max() - keypoints[seen, 0, 1], atol=1e-4)
    assert (nose[seen, 2] == 0).all()
    assert np.isnan(nose[~seen]).all()
    assert np.isnan(read_trc(paths[1])[1][:, 2:5]).all()


def test_a_variable_rate_becomes_a_constant_one(tmp_path: Path):
    seconds = np.array([0.0, 0.05, 0.15, 0.2])
    video = walking_video(seconds)

    _, rows = read_trc(export_tracks(video, tmp_path, ["trc"], 2.0)[0])

    # Three frames in 0.2 s, at a distance of 1/15 s: the second is a sixth of the way from 0.05 to 0.15.
    np.testing.assert_allclose(rows[:, 1], [0, 0.066667, 0.133333, 0.2])
    noses = walk(seconds).keypoints[:, 0, 0] / HEIGHT_PX * 2.0
    np.testing.assert_allclose(rows[1, 2], noses[1] + (noses[2] - noses[1]) / 6, atol=1e-4)


def test_a_table_with_an_impossible_frame_fills_no_memory(tmp_path: Path):
    video = walking_video(SECONDS[:3])
    track = replace(video.tracks[0], frames=np.array([0, 1, 10**12]))

    with pytest.raises(TracksError, match=r"track 3 spans 1,000,000,000,001 frames"):
        export_tracks(replace(video, frames=track.frames, tracks=(track,)), tmp_path, ["trc"], 1.8)


def test_what_trc_and_c3d_need_is_told(tmp_path: Path):
    pytest.importorskip("ezc3d")
    for name in ("trc", "c3d"):
        with pytest.raises(InvalidValueError, match=f"{name} is in meters, and an image has no scale; give --height"):
            export_tracks(walking_video(), tmp_path, [name], None)
        with pytest.raises(TracksError, match=r"a/match.mp4 has one frame, and so no frame rate"):
            export_tracks(walking_video(SECONDS[:1]), tmp_path, [name], 1.8)


def test_a_track_without_legs_has_no_scale(tmp_path: Path):
    video = walking_video()
    face = Skeleton(name="face", keypoints=("nose",))
    track = Track(1, video.frames, SECONDS, np.ones((40, 1, 2)), np.ones((40, 1)), np.zeros((40, 1), bool))

    with pytest.raises(TracksError, match="track 1 shows no hip and knee of a side"):
        export_tracks(VideoTracks("", face, video.frames, SECONDS, (track,)), tmp_path, ["trc"], 1.8)


def test_c3d_is_in_millimeters_and_marks_what_is_missing(tmp_path: Path):
    ezc3d = pytest.importorskip("ezc3d")

    path, _ = export_tracks(walking_video(), tmp_path, ["c3d"], 2.0)

    file = ezc3d.c3d(str(path))
    assert file["parameters"]["POINT"]["UNITS"]["value"] == ["mm"]
    assert file["parameters"]["POINT"]["LABELS"]["value"] == list(COCO_17.keypoints)
    assert file["header"]["points"]["frame_rate"] == pytest.approx(20)
    points = file["data"]["points"]
    keypoints = walk(SECONDS).keypoints / HEIGHT_PX * 2000
    np.testing.assert_allclose(points[0, 9, 7:], keypoints[7:, 9, 0], atol=0.1)
    assert np.isnan(points[:3, :, 5:7]).all()
    assert (file["data"]["meta_points"]["residuals"][0, :, 5:7] == -1).all()


def test_movement_has_positions_by_time_space_keypoint_and_individual(tmp_path: Path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    video = walking_video()

    (path,) = export_tracks(video, tmp_path, ["movement"], None)

    with xarray.open_dataset(path) as dataset:
        assert dataset.position.dims == ("time", "space", "keypoints", "individuals")
        assert dataset.attrs["ds_type"] == "poses"
        assert dataset.attrs["fps"] == pytest.approx(20)
        wrist = dataset.position.sel(keypoints="left_wrist", individuals="track_3", space="y")
        np.testing.assert_array_equal(wrist[:5], video.tracks[0].keypoints[:5, 9, 1])
        assert np.isnan(wrist[5:7]).all()
        assert dataset.confidence.sel(individuals="track_9").notnull().sum() == 2 * 17


def test_movement_of_one_frame_has_no_frame_rate(tmp_path: Path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")

    (path,) = export_tracks(walking_video(np.zeros(1)), tmp_path, ["movement"], None)

    with xarray.open_dataset(path) as dataset:
        assert dataset.sizes["time"] == 1
        assert "fps" not in dataset.attrs


@pytest.mark.parametrize(("name", "library"), [("c3d", "ezc3d"), ("movement", "xarray")])
def test_missing_libraries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str):
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(InvalidValueError, match=f"pip install {library}"):
        export_tracks(walking_video(), tmp_path, [name], 1.8)
    if library == "xarray":
        with pytest.raises(InvalidValueError, match="pip install xarray"):
            to_movement(walking_video())
