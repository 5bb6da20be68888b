"""Exported networks run without torch, which takes longer to import than they take to answer."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from mspn import PoseEstimator
from tests.export.exported import WEIGHTS, exported_untrained

_PREDICT = "import sys; sys.modules['torch'] = None; from mspn.cli.app import main; main()"
"""`None` makes every import of torch an error."""


def test_exported_networks_predict_without_torch_what_their_weights_do(tmp_path: Path):
    folder = exported_untrained()
    pixels = np.random.default_rng(3).integers(0, 256, (90, 120, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), pixels[..., ::-1])
    model, out = str(folder / "untrained.onnx"), str(tmp_path / "out")
    arguments = [str(tmp_path / "photo.png"), "--model", model, "--detector", "none", "--out", out]

    subprocess.run([sys.executable, "-c", _PREDICT, "predict", *arguments], check=True, capture_output=True)

    (image,) = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    (found,) = image["people"]
    (expected,) = PoseEstimator(folder / WEIGHTS, "none", device="cpu", precision="float32")(pixels)
    for name, (x, y, _) in found["keypoints"].items():
        np.testing.assert_allclose([x, y], expected[name][:2], atol=0.02)
