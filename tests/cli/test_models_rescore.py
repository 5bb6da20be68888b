import json
from pathlib import Path

import numpy as np
import pytest

from mspn.checkpoints.format import load_checkpoint
from mspn.labels.formats import read_labels
from mspn.predict.estimator import PoseEstimator
from mspn.structures.skeleton import COCO_17
from tests.cli.runner import run
from tests.drawn_people import write_drawn_set
from tests.trained import overfitted


def _labels(folder: Path) -> tuple[str | Path, ...]:
    return ("--annotations", folder / "annotations.json", "--images", folder / "images")


def test_poses_rank_by_predicted_oks_and_stay_where_they_are(tmp_path: Path):
    folder, weights = overfitted()
    write_drawn_set(tmp_path / "others", num_images=50, people_per_image=2)
    calibrated, rescored = tmp_path / "calibrated.safetensors", tmp_path / "rescored.safetensors"
    assert run("models", "calibrate", weights, calibrated, *_labels(folder)).exit_code == 0

    result = run("models", "rescore", calibrated, rescored, *_labels(folder), *_labels(tmp_path / "others"))

    assert result.exit_code == 0, result.output
    checkpoint = load_checkpoint(rescored)
    assert checkpoint.metadata.recipe.test.rescoring == "predicted_oks"
    calibration = checkpoint.metadata.score_calibration
    assert calibration is not None
    assert calibration.oks_predictor is not None
    assert f"rank by predicted OKS, fitted to {calibration.oks_predictor.people} people" in result.stdout
    assert calibration.oks_predictor.people == 100 + len(read_labels(folder / "annotations.json").people)
    image = sorted((folder / "images").iterdir())[0]
    (before,), (after,) = (
        PoseEstimator(model, "none", device="cpu", precision="float32")(image) for model in (calibrated, rescored)
    )
    np.testing.assert_array_equal(after.keypoints_image, before.keypoints_image)
    np.testing.assert_array_equal(after.keypoint_scores, before.keypoint_scores)
    assert after.score == before.score
    points, peaks = (
        after.keypoints_image[None],
        PoseEstimator(weights, "none", device="cpu", precision="float32")(image),
    )
    predicted = calibration.oks_predictor.predict(points, peaks[0].keypoint_scores[None], COCO_17.mirror_order)
    assert after.ranking_score == pytest.approx(predicted.item() ** 2, rel=1e-4)
    assert after.ranking_score != before.ranking_score
    assert "rank by predicted OKS" in " ".join(run("models", "show", rescored).stdout.split())
    shown = json.loads(run("models", "show", rescored, "--json").stdout)["score_calibration"]
    assert shown["oks_predictor"] == {"people": calibration.oks_predictor.people}

    # The predictor sees peaks, so scores may be calibrated anew; and what does not rank is not claimed.
    again, ranked_by_scores = tmp_path / "again.safetensors", tmp_path / "ranked-by-scores.safetensors"
    assert run("models", "calibrate", rescored, again, *_labels(folder), "--shift", "-1").exit_code == 0
    recalibrated = load_checkpoint(again).metadata
    assert recalibrated.recipe.test.rescoring == "predicted_oks"
    assert recalibrated.score_calibration is not None
    assert recalibrated.score_calibration.oks_predictor == calibration.oks_predictor
    assert recalibrated.score_calibration.offsets != calibration.offsets
    setting = ("--set", "test.rescoring=weighted_mean")
    assert run("models", "convert", rescored, ranked_by_scores, *setting).exit_code == 0
    assert "predicted OKS" not in " ".join(run("models", "show", ranked_by_scores).stdout.split())


def test_weights_without_a_predictor_do_not_claim_to_rank_by_it():
    _, weights = overfitted()
    test = load_checkpoint(weights).metadata.recipe.test.model_copy(update={"rescoring": "predicted_oks"})

    assert PoseEstimator(weights, "none", device="cpu", test=test).test.rescoring == "weighted_mean"


def test_a_set_without_labels_is_named_before_anything_is_predicted(tmp_path: Path):
    folder, _ = overfitted()
    write_drawn_set(tmp_path, num_images=2, people_per_image=1)
    content = json.loads((tmp_path / "annotations.json").read_text())
    for person in content["annotations"]:
        person.update(keypoints=[0] * 51, num_keypoints=0)
    (tmp_path / "annotations.json").write_text(json.dumps(content))

    # Predicting the first set would fail: its folder of images is missing.
    first = ("--annotations", folder / "annotations.json", "--images", tmp_path / "missing")
    result = run("models", "rescore", "mspn-tiny", tmp_path / "out.safetensors", *first, *_labels(tmp_path))

    assert result.exit_code == 2
    assert "annotations.json: nobody of 2 people has a labeled keypoint" in " ".join(result.stderr.split())


def test_weights_without_calibrated_scores_are_refused(tmp_path: Path):
    folder, weights = overfitted()

    result = run("models", "rescore", weights, tmp_path / "out.safetensors", *_labels(folder))

    assert result.exit_code == 2
    assert "are not calibrated; run `mspn models calibrate` first" in result.stderr


def test_each_label_file_has_its_folder(tmp_path: Path):
    folder, _ = overfitted()

    result = run(
        "models", "rescore", "mspn-base", tmp_path / "out.safetensors",
        *_labels(folder), "--annotations", folder / "annotations.json",
    )  # fmt: skip

    assert result.exit_code == 2
    assert "2 --annotations and 1 --images; give one folder for each label file" in result.stderr
