"""`mspn predict --smooth`: results as the network saw people are kept, smooth ones are written."""

import json
from pathlib import Path

import numpy as np
import pytest

from mspn import OneEuroFilter, read_tracks, smooth_tracks
from mspn.outputs.journal import Journal
from mspn.predict.pipeline import ImageResult
from mspn.predict.top_down import TopDown
from tests.cli.runner import error_line, run
from tests.untrained import untrained_weights

av = pytest.importorskip("av")
NUM_FRAMES = 12


@pytest.fixture
def command(tmp_path: Path) -> list[object]:
    """Predict a video of noise, each frame of which is one person, some of whose keypoints jump about."""
    path = tmp_path / "noise.mp4"
    random = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        still = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        for _ in range(NUM_FRAMES):
            pixels = still // 8 * 7 + random.integers(0, 32, still.shape, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return ["predict", path, "--model", untrained_weights(tmp_path), "--detector", "none", "--save", "jsonl"]


def _keypoints(folder: Path) -> np.ndarray:
    """(F, 17, 3) of the one person."""
    rows = map(json.loads, (folder / "predictions.jsonl").read_text().splitlines())
    return np.array([list(row["people"][0]["keypoints"].values()) for row in rows])


def test_online_smooths_as_the_filter_does_also_a_run_that_is_done(
    tmp_path: Path, command: list[object], monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    assert run(*command, "--out", out).exit_code == 0
    seen = _keypoints(out)
    monkeypatch.setattr(TopDown, "predict_heatmaps", None)  # nobody is estimated anew

    assert run(*command, "--out", out, "--resume", "--smooth", "online").exit_code == 0

    smoother = OneEuroFilter()
    expected = [
        smoother.update(np.array([1]), points[None, :, :2], points[None, :, 2], frame / 25)[0]
        for frame, points in enumerate(seen)
    ]
    smoothed = _keypoints(out)
    np.testing.assert_allclose(smoothed[..., :2], expected, atol=0.05)
    np.testing.assert_array_equal(smoothed[..., 2], seen[..., 2])
    assert np.abs(smoothed - seen).max() > 1
    assert run(*command, "--out", out, "--resume").exit_code == 0
    np.testing.assert_array_equal(_keypoints(out), seen)


def test_offline_smooths_whole_tracks_as_mspn_tracks_does(tmp_path: Path, command: list[object]):
    raw, out = tmp_path / "raw", tmp_path / "out"
    assert run(*command, "--out", raw).exit_code == 0

    result = run(*command, "--out", out, "--smooth", "offline")

    assert result.exit_code == 0, result.output
    assert f"{NUM_FRAMES} images, {NUM_FRAMES} people" in result.stdout
    (track,) = smooth_tracks(read_tracks(raw)).tracks
    seen, smoothed = _keypoints(raw), _keypoints(out)
    is_known = np.isfinite(track.keypoints).all(-1)
    assert is_known.any()
    np.testing.assert_allclose(smoothed[is_known, :2], track.keypoints[is_known], atol=0.05)
    np.testing.assert_array_equal(smoothed[~is_known], seen[~is_known])


def test_a_run_that_is_stopped_before_tracks_are_whole_goes_on(
    tmp_path: Path, command: list[object], monkeypatch: pytest.MonkeyPatch
):
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    options = ("--smooth", "offline", "--save", "jsonl,video")
    assert run(*command, *options, "--out", undisturbed).exit_code == 0
    append = Journal.append

    def append_until_full(self: Journal, result: ImageResult) -> None:
        if result.image is not None and result.image.frame is not None and result.image.frame.index == 5:
            raise OSError(28, "No space left on device")
        append(self, result)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", append_until_full)
        assert "No space left" in error_line(run(*command, *options, "--out", out))

    assert run(*command, *options, "--out", out, "--resume").exit_code == 0
    assert (out / "predictions.jsonl").read_bytes() == (undisturbed / "predictions.jsonl").read_bytes()
    assert [path.name for path in (out / "videos").iterdir()] == ["noise.mp4"]


def test_what_cannot_be_read_is_told_once(tmp_path: Path, command: list[object]):
    (tmp_path / "broken.png").write_bytes(b"no image")

    result = run(command[0], tmp_path / "broken.png", *command[1:], "--out", tmp_path / "out", "--smooth", "offline")

    assert result.exit_code == 1
    assert result.stderr.count("skipped: ") == 1
    assert f"{NUM_FRAMES} people" in result.stdout
    assert len(_keypoints(tmp_path / "out")) == NUM_FRAMES


def test_frames_with_a_problem_keep_their_people_and_are_smoothed(tmp_path: Path, command: list[object]):
    # Every frame has a second box, which lies outside: such frames are not in the journal.
    boxes, out = tmp_path / "boxes.json", tmp_path / "out"
    boxes.write_text(json.dumps({"noise.mp4": [[0, 0, 64, 64, 1.0], [900, 900, 10, 10, 1.0]]}))
    position = command.index("--detector")
    given = [*command[:position], *command[position + 2 :], "--boxes", boxes]
    assert run(*given, "--out", tmp_path / "raw").exit_code == 1

    assert run(*given, "--out", out, "--smooth", "offline").exit_code == 1

    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [[person["track_id"] for person in row["people"]] for row in rows] == [[1]] * NUM_FRAMES
    assert np.abs(_keypoints(out) - _keypoints(tmp_path / "raw")).max() > 1


def test_smoothing_without_tracks_is_refused(command: list[object]):
    beside = error_line(run(*command, "--no-track", "--smooth", "online"))
    assert "--smooth smooths tracks, which --no-track leaves out" in beside
