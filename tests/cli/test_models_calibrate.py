import json
from pathlib import Path

import numpy as np
import pytest

from mspn.checkpoints.format import load_checkpoint
from mspn.predict.estimator import PoseEstimator
from tests.cli.runner import run
from tests.drawn_people import write_drawn_set
from tests.trained import overfitted


def test_calibrated_weights_say_how_often_keypoints_are_right_and_find_the_same_poses(tmp_path: Path):
    folder, weights = overfitted()
    calibrated = tmp_path / "calibrated.safetensors"
    labels = ("--annotations", folder / "annotations.json", "--images", folder / "images")

    result = run("models", "calibrate", weights, calibrated, *labels)

    assert result.exit_code == 0, result.output
    calibration = load_checkpoint(calibrated).metadata.score_calibration
    assert calibration is not None
    assert f"calibrated on {calibration.people} people" in " ".join(run("models", "show", calibrated).stdout.split())
    image = sorted((folder / "images").iterdir())[0]
    (before,), (after,) = (
        PoseEstimator(model, "none", device="cpu", precision="float32")(image) for model in (weights, calibrated)
    )
    np.testing.assert_array_equal(after.keypoints_image, before.keypoints_image)
    np.testing.assert_allclose(after.keypoint_scores, calibration.scores(before.keypoint_scores))
    scores = after.keypoint_scores
    assert after.ranking_score == pytest.approx((scores**2).sum() / scores.sum())

    # Calibrating again starts from the peaks, not from scores.
    again = tmp_path / "again.safetensors"
    assert run("models", "calibrate", calibrated, again, *labels).exit_code == 0
    assert load_checkpoint(again).metadata.score_calibration == calibration


def test_too_few_labels_are_one_line(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=1, people_per_image=1)

    result = run(
        "models", "calibrate", "mspn-tiny", tmp_path / "out.safetensors",
        "--annotations", tmp_path / "annotations.json", "--images", tmp_path / "images",
    )  # fmt: skip

    assert result.exit_code == 2
    assert "keypoints are labeled; calibration needs 100" in result.stderr
    assert not (tmp_path / "out.safetensors").exists()


def test_labels_of_other_keypoints_are_one_line(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=1, people_per_image=1)
    content = json.loads((tmp_path / "annotations.json").read_text())
    content["categories"][0]["keypoints"] = [f"corner_{number}" for number in range(17)]
    (tmp_path / "annotations.json").write_text(json.dumps(content))

    result = run(
        "models", "calibrate", "mspn-tiny", tmp_path / "out.safetensors",
        "--annotations", tmp_path / "annotations.json", "--images", tmp_path / "images",
    )  # fmt: skip

    assert result.exit_code == 2
    assert "corner_0" in result.stderr
