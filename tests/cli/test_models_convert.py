import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mspn.checkpoints.format import load_checkpoint
from mspn.checkpoints.index import ASSETS
from mspn.checkpoints.networks import load_named
from mspn.inference.runner import load_runner
from mspn.io.images import read_image
from tests.cli.runner import error_line, run
from tests.trained import overfitted
from tests.untrained import untrained_weights


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with one image in which nobody is."""
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "gray.png"), np.full((80, 60, 3), 128, np.uint8))
    return images


def test_a_network_that_was_quantized_finds_the_same_people_in_int8(tmp_path: Path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder, weights = overfitted()
    quantized = tmp_path / "quantized.safetensors"
    boxes = ("--boxes", folder / "annotations.json")

    measured = run("models", "quantize", weights, quantized, "--images", folder / "images", "--detector", "none")

    assert measured.exit_code == 0, measured.output
    assert "calibrated on 4 people; use it with --precision int8" in measured.stdout
    assert load_checkpoint(quantized).metadata.calibration_ranges
    assert "for --precision int8" in run("models", "show", quantized).stdout
    found = {}
    for precision, model in (("float32", weights), ("int8", quantized)):
        out = tmp_path / precision
        result = run(
            "predict", folder / "images", "--model", model, *boxes, "--precision", precision, "--out", out,
            *(("--engine", "onnxruntime") if precision == "int8" else ()),
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        people = [person for one in json.loads((out / "predictions.json").read_text()) for person in one["people"]]
        found[precision] = np.array([list(person["keypoints"].values()) for person in people])
    moved = np.linalg.norm(found["int8"][..., :2] - found["float32"][..., :2], axis=-1)
    # A cell of its maps is 1.1 pixels of these images wide.
    assert np.median(moved) < 0.6


def test_an_image_that_cannot_be_read_is_skipped(images: Path, tmp_path: Path):
    (images / "broken.jpg").write_text("no image")

    result = run(
        "models", "quantize", "mspn-tiny", tmp_path / "out.safetensors", "--images", images, "--detector", "default"
    )

    assert "skipped: " in result.stderr
    assert "broken.jpg" in result.stderr


def test_images_without_people_are_refused(images: Path, tmp_path: Path):
    result = run("models", "quantize", "mspn-tiny", tmp_path / "out.safetensors", "--images", images)

    assert "nobody is found in 1 images; try others, or --detector none" in error_line(result)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_folder_without_images_is_refused(tmp_path: Path):
    result = run("models", "quantize", "mspn-tiny", tmp_path / "out.safetensors", "--images", tmp_path)

    assert "no images are there; give a folder of them" in error_line(result)


def test_weights_without_ranges_say_what_to_do(images: Path, tmp_path: Path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")

    weights = untrained_weights(tmp_path)

    result = run("predict", images, "--model", weights, "--precision", "int8", "--out", tmp_path / "out")

    assert "measure them on images with `mspn models quantize`" in error_line(result)


@pytest.mark.parametrize("model", ["mspn-tiny", "mspn-small"])
def test_the_embedded_weights_bring_their_ranges(model: str):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    height, width = load_named(model).metadata.recipe.model.input_size
    astronaut = read_image(ASSETS / "sample" / "astronaut.jpg")
    crops = torch.from_numpy(cv2.resize(astronaut, (width, height), interpolation=cv2.INTER_AREA)[None])

    exact = load_runner(model, engine="torch", precision="float32", threads=1)(crops)
    rounded = load_runner(model, engine="onnxruntime", precision="int8", threads=1)(crops)

    assert ((rounded - exact).square().mean() / exact.square().mean()).sqrt() < 0.12
