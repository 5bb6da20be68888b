from pathlib import Path

import numpy as np
import pytest
import torch

from mspn.checkpoints.format import DetectorCheckpoint
from mspn.checkpoints.metadata import DetectorMetadata
from mspn.detectors import make_detector
from mspn.detectors.base import MIN_SCORE, choose_detections, fit_longer_side
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.errors import DetectorError, ExportError
from mspn.export.files import write_export
from mspn.export.graphs import Inside, Source, build_detector_export
from mspn.export.onnx_file import OPSET, add_suppression
from mspn.inference.devices import openvino_core
from mspn.inference.exported import load_exported
from mspn.inference.exported_files import DetectorExportMetadata
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


@pytest.fixture(scope="module")
def chooser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of suppression alone, whose candidates are its inputs."""
    onnx = pytest.importorskip("onnx")
    floats, helper = onnx.TensorProto.FLOAT, onnx.helper
    shapes = {"scores": ["images", "candidates"], "boxes": ["images", "candidates", 4]}
    nodes = [helper.make_node("Identity", [f"given_{name}"], [name]) for name in shapes]
    given, told = (
        [helper.make_tensor_value_info(prefix + name, floats, shape) for name, shape in shapes.items()]
        for prefix in ("given_", "")
    )
    model = helper.make_model(
        helper.make_graph(nodes, "chooser", given, told), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
    )
    export = build_detector_export(
        _untrained(tmp_path_factory.mktemp("untrained")), Source("tiny", "0" * 64), Inside(decoding=True)
    )
    assert isinstance(export.metadata, DetectorExportMetadata)
    add_suppression(model, export.metadata)
    path = tmp_path_factory.mktemp("chooser") / "chooser.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_people_are_chosen_moved_and_sorted_as_the_package_does(chooser: Path, runtime: str):
    # In the first image two who overlap the first vote for it; the fourth overlaps it too little, and falls below the
    # lowest score for want of support; the fifth has a better score than the first, but nobody's support.
    first = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 1, 10, 10], [0, 0, 10, 4], [40, 40, 60, 60], *[[0, 0, 0, 0]] * 4]
    # In the second image eight support the first, more than counts; of them and of an unsupported ninth, one stays.
    second = [*[[5, 5, 9, 30 - number / 10] for number in range(8)], [50, 0, 90, 20]]
    boxes = np.array([first, second], np.float32)
    scores = np.array([[0.7, 0.6, 0.5, 0.06, 0.75, 0, 0, 0, 0], [*np.linspace(0.4, 0.39, 8), 0.055]], np.float32)

    expected = _choose(boxes, scores)

    assert [row[5] for row in expected] == [0, 0, 1]
    assert [row[0] for row in expected[:2]] == [0, 40]
    assert expected[2][4] == pytest.approx(0.4 * (3 / 2.5) ** 0.3)
    np.testing.assert_allclose(_run(chooser, runtime, boxes, scores), expected, atol=1e-5)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("num_candidates", [(255, 3), (256, 0), (3, 257), (600, 0), (0, 0)])
def test_all_candidates_vote_however_many_there_are(chooser: Path, runtime: str, num_candidates: tuple[int, int]):
    random = np.random.default_rng(0)
    corners = random.uniform(0, 50, (2, 700, 2))
    boxes = np.concatenate([corners, corners + random.uniform(10, 30, (2, 700, 2))], axis=2).astype(np.float32)
    is_candidate = np.arange(700) < np.reshape(num_candidates, (2, 1))
    scores = np.where(is_candidate, random.uniform(0.3, 0.4, (2, 700)), 0.049).astype(np.float32)

    found = _run(chooser, runtime, boxes, scores)

    assert len(found) > 20 or sum(num_candidates) == 0
    np.testing.assert_allclose(found, np.reshape(_choose(boxes, scores), (-1, 6)), atol=1e-4)


def test_without_images_nobody_is_found(chooser: Path):
    assert len(_run(chooser, "onnxruntime", np.empty((0, 700, 4), np.float32), np.empty((0, 700), np.float32))) == 0


def _run(chooser: Path, runtime: str, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rows of left, top, width, height, score and image, in images of 80 pixels."""
    inputs = {"given_scores": scores, "given_boxes": boxes, "image_sizes": np.full((len(boxes), 2), 80, np.float32)}
    if runtime == "onnxruntime":
        names = ["boxes", "scores", "image_indices"]
        found = dict(zip(names, pytest.importorskip(runtime).InferenceSession(chooser).run(names, inputs), strict=True))
    else:
        core = openvino_core(ExportError("openvino is not installed"))
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        answers = core.compile_model(core.read_model(chooser), "CPU", settings)(inputs)
        found = {output.any_name: value for output, value in answers.items()}
    corners, extents = np.split(found["boxes"], 2, axis=1)
    return np.column_stack([corners, extents - corners, found["scores"], found["image_indices"]])


def _choose(boxes: np.ndarray, scores: np.ndarray) -> list[tuple[float, ...]]:
    """The same rows, by the package."""
    rows: list[tuple[float, ...]] = []
    for number, (image_boxes, image_scores) in enumerate(zip(boxes.clip(max=80), scores, strict=True)):
        may_vote = image_scores >= MIN_SCORE
        people = choose_detections(image_boxes[may_vote].astype(float), image_scores[may_vote].astype(float))
        rows += [(*person.box, person.score, number) for person in people]
    return sorted(rows, key=lambda row: -row[4])


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
