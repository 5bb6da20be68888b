import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.runner import error_line, run
from tests.untrained import untrained_weights


def test_networks_are_timed_beside_the_reference_and_their_limit(tmp_path: Path):
    weights = untrained_weights(tmp_path)
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    cv2.imwrite(str(images / "gray.png"), np.full((80, 60, 3), 128, np.uint8))

    result = run(
        "bench", "--model", weights, "--engine", "torch", "--precision", "float32", "--batch", 2, "--rounds", 1,
        "--images", images, "--out", out,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    report = json.loads((out / "bench.json").read_text())
    assert [(rate["engine"], rate["batch"]) for rate in report["rates"]] == [("reference", 2), ("torch", 2)]
    assert report["rates"][1]["error"] < 1e-4
    assert [one["precision"] for one in report["upper_bounds"]] == ["float32"]
    (timing,) = report["end_to_end"]
    assert list(timing["seconds"]) == ["decode", "detect", "cut", "network", "read off", "write"]
    assert timing["images"] == 1


def test_int8_is_timed_without_a_limit(tmp_path: Path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    result = run(
        "bench", "--model", untrained_weights(tmp_path), "--engine", "onnxruntime", "--precision", "int8",
        "--batch", 2, "--rounds", 1, "--out", tmp_path / "out",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [(rate["engine"], rate["precision"]) for rate in report["rates"]] == [
        ("reference", "float32"),
        ("onnxruntime", "int8"),
    ]
    assert report["rates"][1]["error"] < 0.2
    assert report["upper_bounds"] == []


def test_untrained_networks_are_timed_only_when_asked_for(tmp_path: Path):
    assert "there are no weights of hourglass-1" in error_line(
        run("bench", "--model", "hourglass-1", "--out", tmp_path)
    )


def test_a_folder_without_images_is_refused(tmp_path: Path):
    result = run("bench", "--images", tmp_path, "--out", tmp_path / "out")

    assert "no images are there; give a folder of them" in error_line(result)


def test_a_combination_that_there_is_not_is_refused(tmp_path: Path):
    result = run("bench", "--engine", "onnxruntime", "--precision", "bfloat16", "--out", tmp_path)

    assert "onnxruntime has no bfloat16 on CPUs" in error_line(result)
