from pathlib import Path

import numpy as np
import pytest
import torch

from mspn.checkpoints.format import DetectorCheckpoint
from mspn.checkpoints.metadata import DetectorMetadata
from mspn.detectors import make_detector
from mspn.detectors.base import fit_longer_side
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.errors import DetectorError, ExportError
from mspn.export.files import write_export
from mspn.export.graphs import Inside, Source, build_detector_export
from mspn.inference.devices import openvino_core
from mspn.inference.exported import load_exported
from mspn.models.person_detector import PersonDetector
from mspn.structures.image import Image
from tests.export.exported import exported_untrained
from tests.made_once import made_once
from tests.trained_detector import tiny_detector_recipe

_SHAPES = [(96, 64), (70, 96), (50, 200)]


def _untrained(folder: Path) -> DetectorCheckpoint:
    """A network that finds people everywhere."""
    recipe = tiny_detector_recipe(folder, iterations=2)
    torch.manual_seed(3)
    network = PersonDetector(recipe.model).eval()
    for head in network.heads:
        torch.nn.init.normal_(head.score.weight, std=0.5)
    return DetectorCheckpoint(DetectorMetadata(recipe=recipe), network)


def _export(folder: Path) -> None:
    export = build_detector_export(
        _untrained(folder), Source("tiny", "0" * 64), Inside(preprocessing=True, decoding=True)
    )
    write_export(export, folder / "detector.onnx")


def test_openvino_chooses_among_candidates_as_onnxruntime_does():
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    core = openvino_core(ExportError("openvino is not installed"))
    path = made_once("exported_detector", _export) / "detector.onnx"
    pixels = np.random.default_rng(2).integers(0, 256, (1, 96, 64, 3), np.uint8)
    inputs = {"images": pixels, "image_sizes": np.array([[90.0, 64.0]], np.float32)}

    boxes, scores = onnxruntime.InferenceSession(path).run(["boxes", "scores"], inputs)
    answers = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(inputs)

    assert len(scores) > 3
    # Of candidates that are equally good but for rounding, each may keep another.
    np.testing.assert_allclose(answers["scores"], scores, atol=0.02)
    np.testing.assert_allclose(answers["boxes"][0], boxes[0], atol=1e-3)


@pytest.mark.parametrize("shape", _SHAPES)
def test_an_export_with_decoding_finds_the_boxes_of_the_package_in_images_of_any_shape(
    shape: tuple[int, int], tmp_path: Path
):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    session = onnxruntime.InferenceSession(made_once("exported_detector", _export) / "detector.onnx")
    image = Image("", np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8))
    letterbox = fit_longer_side(image.size, 96)

    boxes, scores, image_indices = session.run(
        ["boxes", "scores", "image_indices"],
        {"images": letterbox.draw(image.pixels)[None], "image_sizes": np.array([letterbox.scaled], np.float32)},
    )

    detector = EmbeddedPersonDetector(_untrained(tmp_path).model, torch.device("cpu"), "float32")
    expected = detector.detect(image)
    assert len(expected) > 3
    found = letterbox.to_image(boxes)
    is_usable = (found[:, 2:] - found[:, :2] >= 1).all(1)  # thinner ones are left out by the package
    expected_boxes = [
        (box.left, box.top, box.left + box.width, box.top + box.height) for box in (one.box for one in expected)
    ]
    np.testing.assert_allclose(found[is_usable], expected_boxes, atol=1e-3)
    np.testing.assert_allclose(scores[is_usable], [one.score for one in expected], atol=1e-5)
    assert (image_indices == 0).all()


def test_an_exported_detector_takes_the_place_of_its_weights(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = made_once("exported_detector", _export) / "detector.onnx"
    image = Image("", np.random.default_rng(2).integers(0, 256, (70, 96, 3), np.uint8))

    found = make_detector(str(path)).detect(image)

    network = _untrained(tmp_path).model
    expected = EmbeddedPersonDetector(network, torch.device("cpu"), "float32").detect(image)
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose([one.box for one in found], [one.box for one in expected], atol=1e-3)
    larger = EmbeddedPersonDetector(network, torch.device("cpu"), "float32", 128).detect(image)
    found_larger = make_detector(f"{path},side=128").detect(image)
    np.testing.assert_allclose([one.box for one in found_larger], [one.box for one in larger], atol=1e-3)


def test_networks_of_the_other_kind_are_told(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    detector = made_once("exported_detector", _export) / "detector.onnx"

    with pytest.raises(
        ExportError, match=r"detector.onnx is a person detector, not a pose network; give it to --detec"
    ):
        load_exported(detector)
    with pytest.raises(
        DetectorError, match=r"untrained.onnx is a pose network, not a person detector; give it to --mo"
    ):
        make_detector(str(exported_untrained() / "untrained.onnx"))
