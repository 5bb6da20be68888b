"""Tracks of videos, and which people are written."""

import json
from pathlib import Path

import numpy as np
import pytest

from mspn.predict.top_down import TopDown
from tests.cli.runner import error_line, run
from tests.untrained import untrained_weights

av = pytest.importorskip("av")


@pytest.fixture
def command(tmp_path: Path) -> list[object]:
    """Predict a gray video of six frames, each of which is one person, into a folder."""
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for _ in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    weights = untrained_weights(tmp_path)
    out = tmp_path / "out"
    return ["predict", path, "--model", weights, "--detector", "none", "--out", out, "--save", "jsonl"]


def _tracks(tmp_path: Path) -> list[list[int | None]]:
    rows = map(json.loads, (tmp_path / "out" / "predictions.jsonl").read_text().splitlines())
    return [[person.get("track_id") for person in row["people"]] for row in rows]


def test_people_of_videos_are_followed_unless_that_is_not_wanted(tmp_path: Path, command: list[object]):
    assert run(*command).exit_code == 0
    assert _tracks(tmp_path) == [[1]] * 6

    assert run(*command, "--overwrite", "--no-track").exit_code == 0
    assert _tracks(tmp_path) == [[None]] * 6


def test_others_are_written_of_a_finished_run_without_estimating_anybody(
    tmp_path: Path, command: list[object], monkeypatch: pytest.MonkeyPatch
):
    beside = run(*command, "--region", "0,0,10,64")
    assert beside.exit_code == 0, beside.output
    assert _tracks(tmp_path) == [[]] * 6  # the middle of each box is at 32, 32

    monkeypatch.setattr(TopDown, "predict_heatmaps", None)
    assert run(*command, "--resume", "--region", "20,20,20,20", "--people", 1).exit_code == 0
    assert _tracks(tmp_path) == [[1]] * 6
    assert run(*command, "--resume", "--track-ids", "2,3").exit_code == 0
    assert _tracks(tmp_path) == [[]] * 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--region", "1,2,3"), "--region 1,2,3: write left,top,width,height in pixels"),
        (("--region", "1,2,0,4"), "--region 1,2,0,4: write left,top,width,height in pixels"),
        (("--region", "1,2,nan,4"), "--region 1,2,nan,4: write left,top,width,height in pixels"),
        (("--track-ids", "one"), "--track-ids one: write numbers with commas between them"),
        (("--track-ids", "1", "--no-track"), "--track-ids chooses tracks, which --no-track leaves out"),
        (("--people-by", "center"), "--people-by says which people --people takes"),
    ],
)
def test_wishes_of_no_use_are_refused(command: list[object], options: tuple[str, ...], message: str):
    assert message in error_line(run(*command, *options))
