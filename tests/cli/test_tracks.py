import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.structures.skeleton import COCO_17
from tests.cli.runner import error_line, run
from tests.walking_figure import walk, with_noise

SECONDS = np.arange(60) / 30
SIZE = (480, 960)  # height, width


def write_predictions(folder: Path, *, source: str = "walk.avi", num_people: int = 1, num_frames: int = 60) -> Path:
    """Results of a video in which people walk, a hundred pixels apart, with a gap of two frames."""
    folder.mkdir(exist_ok=True)
    keypoints = with_noise(walk(SECONDS).keypoints, 0.005)
    lines = []
    for frame in range(num_frames):
        people = [
            {
                "track_id": number + 1,
                "keypoints": {
                    name: [x + 100 * number, y + 40, 0.8]
                    for name, (x, y) in zip(COCO_17.keypoints, keypoints[frame].tolist(), strict=True)
                },
            }
            for number in range(num_people)
            if frame not in (30, 31)
        ]
        lines.append({"source": source, "frame": frame, "seconds": frame / 30, "people": people})
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def write_video(path: Path) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, SIZE[::-1])
    assert writer.isOpened()
    for frame in range(60):
        writer.write(np.full((*SIZE, 3), 4 * frame, np.uint8))
    writer.release()
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tracks_are_smoothed_into_a_table(tmp_path: Path):
    results = write_predictions(tmp_path / "results", num_people=2)

    result = run("tracks", "smooth", results, "--out", tmp_path / "smooth")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"tracks: {tmp_path / 'smooth' / 'tracks.csv'}",
        f"2 people, {2 * 2 * 17} keypoints filled in",
    ]
    rows = read_rows(tmp_path / "smooth" / "tracks.csv")
    assert len(rows) == 2 * 60 * 17
    assert [row["frame"] for row in rows if row["filled"] == "1"][::17] == ["30", "31"] * 2


def test_gaps_longer_than_asked_for_stay_open(tmp_path: Path):
    results = write_predictions(tmp_path / "results")

    result = run("tracks", "smooth", results, "--out", tmp_path, "--max-gap", 0.05, "--track", 1)

    assert result.exit_code == 0, result.output
    assert len(read_rows(tmp_path / "tracks.csv")) == 58 * 17


def test_keypoints_of_low_scores_are_missing(tmp_path: Path):
    results = write_predictions(tmp_path / "results")
    path = results / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for person in line["people"]:
            person["keypoints"]["left_wrist"][2] = 0.4  # of 0.8
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    for min_score, x_is_there in ((0.4, True), (0.6, False)):
        run("tracks", "smooth", results, "--out", tmp_path, "--min-score", min_score)
        rows = read_rows(tmp_path / "tracks.csv")
        assert all(bool(row["x"]) == x_is_there for row in rows if row["keypoint"] == "left_wrist")
        run("tracks", "angles", results, "--out", tmp_path, "--min-score", min_score)
        assert ("left_elbow" in read_rows(tmp_path / "angles.csv")[0]) == x_is_there


def test_angles_of_a_walker_are_on_a_page_with_frames_of_the_video(tmp_path: Path):
    pytest.importorskip("av")
    results = write_predictions(tmp_path, source=str(write_video(tmp_path / "walk.avi")))

    result = run("tracks", "angles", results, "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "out" / "angles.csv")
    assert len(rows) == 60
    truth = walk(SECONDS).angles["left_knee"]
    np.testing.assert_allclose([float(row["left_knee"]) for row in rows], truth, atol=8)
    assert "trunk_lean_velocity" in rows[0]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h1>Track 1</h1>" in page
    assert 'src="data:image/jpeg;base64,' in page
    assert page.count("<svg") == 10
    assert "Ranges of motion" in page
    assert "<td>left knee</td>" in page
    assert "<td>right</td>" in page  # a step
    steps = read_rows(tmp_path / "out" / "steps.csv")
    assert (steps[0]["foot"], steps[0]["step_seconds"]) == ("right", "")
    assert float(steps[1]["step_seconds"]) == pytest.approx(0.55, abs=0.06)


def test_a_page_without_the_video_says_so(tmp_path: Path):
    results = write_predictions(tmp_path, source="gone.mp4")

    result = run("tracks", "angles", results, "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert "The video is not at its place" in (tmp_path / "out" / "report.html").read_text()


def test_a_track_of_one_frame_has_a_page(tmp_path: Path):
    results = write_predictions(tmp_path, num_frames=1)

    result = run("tracks", "angles", results, "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert "The track has one frame, and so no curves." in (tmp_path / "out" / "report.html").read_text()


def test_curves_end_at_long_gaps(tmp_path: Path):
    results = write_predictions(tmp_path)
    path = results / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines[20:40]:
        line["people"] = []
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    run("tracks", "angles", results, "--out", tmp_path / "out")

    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<polyline") == 2 * (4 * 2 + 1) * 2  # angle and velocity, left and right, before and after


def test_smooth_tables_are_measured_too(tmp_path: Path):
    run("tracks", "smooth", write_predictions(tmp_path / "results"), "--out", tmp_path)

    result = run("tracks", "angles", tmp_path, "--out", tmp_path)

    assert result.exit_code == 0, result.output
    assert len(read_rows(tmp_path / "angles.csv")) == 60


def test_tracks_are_exported_as_they_are(tmp_path: Path):
    results = write_predictions(tmp_path)

    result = run("tracks", "export", results, "--out", tmp_path, "--save", "csv,openpose,trc", "--height", 1.8)

    assert result.exit_code == 0, result.output
    assert len(read_rows(tmp_path / "tracks.csv")) == 58 * 17
    assert len(list((tmp_path / "openpose").iterdir())) == 60
    assert (tmp_path / "track-1.trc").is_file()


def test_what_cannot_be_done_is_told_in_a_line(tmp_path: Path):
    results = write_predictions(tmp_path / "results", num_people=2)
    out = ("--out", tmp_path / "out")

    assert "has tracks 1, 2; choose one by --track" in error_line(run("tracks", "angles", results, *out))
    assert "no track 5 in" in error_line(run("tracks", "angles", results, *out, "--track", 5))
    assert "no video at none.mp4" in error_line(run("tracks", "angles", results, *out, "--video", "none.mp4"))
    assert "'xls' is not known; choose of csv" in error_line(run("tracks", "smooth", results, *out, "--save", "xls"))
    assert "give --height METERS" in error_line(run("tracks", "export", results, *out, "--save", "trc"))
    assert "no file or folder at" in error_line(run("tracks", "smooth", tmp_path / "none", *out))
    assert "no predictions.jsonl nor" in error_line(run("tracks", "smooth", tmp_path, *out))
