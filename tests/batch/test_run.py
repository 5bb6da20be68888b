import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.made_once import made_once

pytest.importorskip("ray.data")

from pyarrow import parquet

from tests.batch import ray_runs

pytestmark = pytest.mark.slow  # a cluster of Ray has a dozen processes


def _run_apart(folder: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}/src:{root}", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    command = [sys.executable, "-m", "tests.batch.ray_runs", str(folder)]
    done = subprocess.run(command, cwd=root, env=environment, timeout=600, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder() -> Path:
    return made_once("ray_runs", _run_apart)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return parquet.read_table(folder / "out/poses").to_pylist()


def test_each_image_has_one_row_though_an_actor_and_then_the_driver_were_killed(
    folder: Path, rows: list[dict[str, Any]]
):
    assert (folder / "killed").exists()
    names = Counter(row["source"] for row in rows if row["frame"] is None)
    assert names == Counter([*(f"images/{number}.jpg" for number in range(43)), "images/cut.jpg"])


def test_a_video_has_a_row_for_each_frame(rows: list[dict[str, Any]]):
    frames = [row["frame"] for row in rows if row["source"] == "images/pan.mp4"]

    assert frames == list(range(len(frames)))
    assert len(frames) > 10


def test_poses_are_those_of_the_estimator(folder: Path, rows: list[dict[str, Any]]):
    (row,) = (row for row in rows if row["source"] == "images/7.jpg")
    (pose,) = ray_runs.estimator_of(folder)(folder / "images/7.jpg")

    (person,) = row["people"]

    assert (row["width"], row["height"], row["num_people"], row["problems"]) == (30, 40, 1, [])
    assert (person["box_width"], person["box_height"], person["box_score"]) == (30, 40, 1.0)
    for keypoint, (name, (x, y, score)) in zip(person["keypoints"], pose.keypoints.items(), strict=True):
        assert keypoint["name"] == name
        assert (keypoint["x"], keypoint["y"]) == pytest.approx((x, y), abs=0.02)
        assert keypoint["score"] == pytest.approx(score, abs=0.0002)


def test_a_damaged_image_is_a_row_that_says_why(rows: list[dict[str, Any]]):
    (row,) = (row for row in rows if row["source"] == "images/cut.jpg")

    assert row["people"] is None
    assert row["problems"] == ["images/cut.jpg is cut short (a JPEG without its end); copy or download it again"]


def test_the_summary_tells_what_each_run_has_written(folder: Path, rows: list[dict[str, Any]]):
    first, second = json.loads((folder / "seen.json").read_text())["summaries"]

    assert second["before"]["images"] < first["images"]  # those that did not count as done are removed
    assert second["before"]["images"] + second["images"] == len(rows)
    assert (first["images_with_problems"], first["actors"]) == (1, 1)
    assert json.loads((folder / "out/summary.json").read_text()) == second


def test_progress_counts_images_and_tells_the_first_problems(folder: Path):
    seen = json.loads((folder / "seen.json").read_text())

    assert seen["images"] >= 41  # those of the killed actor's task count twice
    assert seen["total"] is None  # a video has as many frames as it has
    assert seen["problems"][0].startswith("images/cut.jpg is cut short")
