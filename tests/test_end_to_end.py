"""The whole way on images that the test draws, and the shipped weights on photographs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mspn
from mspn.cli.app import app
from mspn.detectors.precomputed import BoxesFile
from mspn.evaluation.average_precision import average_precision, read_ground_truth
from mspn.evaluation.predicting import predict_people
from mspn.structures.skeleton import COCO_17
from tests.drawn_people import write_drawn_set

SAMPLE = Path(mspn.__file__).parent / "assets" / "sample"
PHOTOS = os.environ.get("MSPN_DATA")


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_train_evaluate_predict_convert_one_after_another(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=3)
    images, run = tmp_path / "set" / "images", tmp_path / "run"
    settings = [
        *(f"data.root={tmp_path}", "data.train=[{annotations: set/annotations.json, images: set/images, weight: 10}]"),
        *("data.workers=1", "train.iterations=8", "train.batch_size=4", "train.precision=float32"),
        *("model.stem_channels=8", "model.up_channels=16", "augmentation=paper", "train.threads=1"),
    ]

    _run("train", "study-mspn-2", "--out", run, *(part for setting in settings for part in ("--set", setting)))
    _run("models", "convert", run / "weights.safetensors", tmp_path / "theirs.pth", "--to", "official")
    _run("models", "convert", tmp_path / "theirs.pth", tmp_path / "back.safetensors")
    for name, weights in (("ours", run / "weights.safetensors"), ("back", tmp_path / "back.safetensors")):
        out = tmp_path / name
        _run("evaluate", "--model", weights, "--annotations", annotations, "--images", images, "--out", out)
    found = ("--out", tmp_path / "found", "--precision", "float32")
    _run("predict", images, "--model", run / "weights.safetensors", "--boxes", annotations, *found)

    # A file of another system does not say which crop size it wants: 256x192 is assumed, 128x96 was trained.
    assert json.loads((tmp_path / "back" / "report.json").read_text())["protocol"]["input_size"] == [256, 192]
    evaluated = json.loads((tmp_path / "ours" / "results.json").read_text())
    predicted = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert len(evaluated) == len(predicted) == 3
    x, y, _ = predicted[0]["people"][0]["keypoints"]["nose"]
    np.testing.assert_allclose([x, y], evaluated[0]["keypoints"][:2], atol=1.0)


def test_importing_the_package_loads_neither_torch_nor_opencv():
    code = "import sys, mspn; print(sorted({'torch', 'cv2', 'numpy'} & sys.modules.keys()))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"


def test_the_shipped_weights_find_the_faces_of_the_sample_photographs():
    estimator = mspn.PoseEstimator(detector=BoxesFile(SAMPLE / "boxes.json"), precision="float32")

    (astronaut,) = estimator(SAMPLE / "astronaut.jpg")
    (photographer,) = estimator(SAMPLE / "camera.jpg")

    # Read off the photographs by eye; her right is on the image's left.
    expected = {"nose": (224, 122), "left_eye": (249, 103), "right_eye": (199, 101)}
    for name, point in expected.items():
        assert np.hypot(*np.subtract(astronaut.keypoints[name][:2], point)) < 40, name
    assert np.hypot(*np.subtract(photographer.keypoints["nose"][:2], (248, 160))) < 40


@pytest.mark.skipif(PHOTOS is None, reason="MSPN_DATA is not set")
@pytest.mark.parametrize(
    ("model", "photos", "on_card"),
    [
        pytest.param("mspn-base", "lspet_val", 0.541, marks=pytest.mark.slow),
        ("mspn-base", "studio_val", 0.887),
        pytest.param("mspn-base", "coco_sample", 0.476, marks=pytest.mark.slow),
        pytest.param("mspn-small", "lspet_val", 0.523, marks=pytest.mark.slow),
        pytest.param("mspn-small", "studio_val", 0.885, marks=pytest.mark.slow),
        pytest.param("mspn-small", "coco_sample", 0.433, marks=pytest.mark.slow),
        pytest.param("mspn-tiny", "lspet_val", 0.487, marks=pytest.mark.slow),
        ("mspn-tiny", "studio_val", 0.865),
        ("mspn-tiny", "coco_sample", 0.412),
    ],
)
def test_the_shipped_weights_reach_the_average_precision_of_their_card(model: str, photos: str, on_card: float):
    """Slow: the network sees up to 499 people and their mirror images, in bfloat16 where the processor has it."""
    folder = Path(str(PHOTOS)) / photos
    estimator = mspn.PoseEstimator(model, "none")
    ground_truth = read_ground_truth(folder / "annotations.json", COCO_17)

    rows = predict_people(estimator, ground_truth, folder / "images", None).rows

    assert average_precision(ground_truth, rows, COCO_17)["AP"] >= on_card - 0.01
