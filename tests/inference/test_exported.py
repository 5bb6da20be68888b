"""Exported networks, ours and those of other packages, in place of weights."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mspn.errors import ExportError, MspnError
from mspn.inference.devices import Precision, choose_precision
from mspn.inference.exported import load_exported
from mspn.inference.runner import load_runner
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Box
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17
from tests.export.exported import WEIGHTS, exported_heatmaps, exported_untrained

_IMAGE = np.random.default_rng(8).integers(0, 256, (90, 120, 3), np.uint8)
_BOXES = [Box(10, 5, 60, 80), Box(50, 20, 60, 60), Box(0, 0, 120, 90)]


def _poses(model: Path, **settings: Any) -> list[Pose]:
    settings = {"device": "cpu", "precision": "float32", "suppression_oks": None} | settings
    return PoseEstimator(model, "none", **settings)(_IMAGE, boxes=_BOXES)


def _expect_same(found: list[Pose], expected: list[Pose]) -> None:
    assert len(found) == len(expected) == len(_BOXES)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.keypoints_image, other.keypoints_image, atol=0.02)
        np.testing.assert_allclose(one.keypoint_scores, other.keypoint_scores, atol=1e-4)
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.ranking_score == pytest.approx(other.ranking_score, abs=1e-4)
        assert one.skeleton == other.skeleton


def test_a_file_with_decoding_takes_the_place_of_its_weights():
    folder = exported_untrained()

    _expect_same(_poses(folder / "untrained.onnx"), _poses(folder / WEIGHTS))


def test_a_file_of_heat_maps_takes_the_place_of_its_weights_with_other_test_settings_too():
    folder = exported_heatmaps()
    exported = folder / "untrained.xml"

    _expect_same(_poses(exported), _poses(folder / WEIGHTS))
    _expect_same(_poses(exported, flip=False), _poses(folder / WEIGHTS, flip=False))


_SIGNAL_AFTER_TWO_FILES = """
import os, signal, sys
from pathlib import Path
from mspn.inference.exported_files import open_file

first, second = (open_file(Path(sys.argv[1])) for _ in range(2))
del first
del second
signal.signal(signal.SIGINT, lambda *_: print("heard", flush=True))
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_signals_are_heard_after_networks_of_openvino_have_ended_in_any_order():
    path = exported_heatmaps() / "untrained.xml"

    ended = subprocess.run(
        [sys.executable, "-c", _SIGNAL_AFTER_TWO_FILES, str(path)], capture_output=True, text=True, check=False
    )

    assert (ended.stdout, ended.returncode) == ("heard\n", 0), ended.stderr


_IMPORT_OPENVINO = """
import sys
from mspn.errors import ExportError
from mspn.inference.devices import import_openvino, openvino_core

openvino_core(ExportError("not installed"))
print([name for name in sys.modules if name.startswith(("openvino.tools.ovc", "openvino_telemetry"))])
sys.modules["openvino_telemetry"] = None  # nor shall this test report anything
print(import_openvino(ExportError("not installed")).convert_model.__name__)
"""


def test_openvino_reports_nothing_to_its_makers_and_still_has_its_converter(tmp_path: Path):
    pytest.importorskip("openvino")

    ended = subprocess.run(
        [sys.executable, "-c", _IMPORT_OPENVINO],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HOME": str(tmp_path)},
    )

    assert (ended.stdout, ended.returncode) == ("[]\nconvert_model\n", 0), ended.stderr
    assert list(tmp_path.iterdir()) == []


_OPEN = """
import sys
from pathlib import Path
from mspn.inference.exported import load_exported

load_exported(Path(sys.argv[1]))
"""


def test_onnxruntime_keeps_nothing_in_the_home_folder(tmp_path: Path):
    path = exported_untrained() / "untrained.onnx"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}

    subprocess.run(
        [sys.executable, "-c", _OPEN, str(path)],
        check=True,
        env=environment | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )

    assert list(tmp_path.iterdir()) == []


def test_openvino_computes_in_the_precision_that_torch_would_take():
    path = exported_heatmaps() / "untrained.xml"
    crops = np.random.default_rng(4).integers(0, 256, (2, 64, 64, 3), np.uint8)
    native = choose_precision("auto", torch.device("cpu"))
    precisions: tuple[Precision, ...] = ("auto", "bfloat16", "float32")

    auto, half, exact = (load_exported(path, precision).network for precision in precisions)

    assert (auto.precision, half.precision, exact.precision) == (native, "bfloat16", "float32")
    assert PoseEstimator(path, "none", device="cpu", precision="bfloat16").precision == "bfloat16"
    if native == "bfloat16":  # elsewhere OpenVINO has none
        maps = exact(crops)
        np.testing.assert_array_equal(auto(crops), half(crops))
        assert 0 < np.abs(half(crops) - maps).max() < 0.02 * np.abs(maps).max()


def test_exported_heat_maps_are_averaged_with_those_of_weights():
    folder = exported_heatmaps()
    weights = folder / WEIGHTS
    settings: dict[str, Any] = {"device": "cpu", "precision": "float32", "suppression_oks": None}

    averaged = PoseEstimator([folder / "untrained.xml", weights], "none", **settings)(_IMAGE, boxes=_BOXES)

    _expect_same(averaged, _poses(weights))


def test_what_a_file_decides_itself_cannot_be_chosen():
    path = exported_untrained() / "untrained.onnx"
    weights = exported_untrained() / WEIGHTS

    with pytest.raises(ExportError, match=r"untrained.onnx is run by onnxruntime, not by torch; leave the engine out"):
        _poses(path, engine="torch")
    with pytest.raises(
        ExportError, match=r"computes in float32, not in bfloat16; leave it out, or export another file"
    ):
        _poses(path, precision="bfloat16")
    with pytest.raises(ExportError, match=r"decodes inside, with test.flip=True, so that False cannot be had"):
        _poses(path, flip=False)
    with pytest.raises(MspnError, match=r"gives keypoints, not heat maps, and cannot be averaged with others"):
        PoseEstimator([weights, path], "none", device="cpu", precision="float32")
    assert load_exported(path).network.engine == "onnxruntime"


def test_crops_of_another_size_are_refused():
    network = load_exported(exported_untrained() / "untrained.onnx").network

    with pytest.raises(ExportError, match=r"takes crops of 64x64 pixels, not of 32x64"):
        network.run(np.zeros((1, 32, 64, 3), np.uint8))


def test_no_people_have_no_keypoints():
    network = load_exported(exported_untrained() / "untrained.onnx").network

    assert network.keypoints(np.zeros((0, 64, 64, 3), np.uint8)).peaks.shape == (0, 17)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.onnx", None, r"no file at .*absent.onnx"),
        ("broken.onnx", b"not ONNX", r"broken.onnx is no ONNX file that onnxruntime .* can read"),
        ("broken.xml", b"<net", r"broken.xml is no network that OpenVINO can read .* is its .bin beside it\?"),
        ("broken.pt2", b"PK", r"broken.pt2: .pt2 files are not opened, since torch would run code that they may hold"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes | None, message: str):
    pytest.importorskip({"onnx": "onnxruntime", "xml": "openvino", "pt2": "torch"}[name[-4:].strip(".")])
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ExportError, match=message) as failure:
        load_exported(tmp_path / name)

    assert "\n" not in str(failure.value)


def _write_foreign(
    path: Path, outputs: dict[str, np.ndarray], shape: tuple[Any, ...] = ("batch", 3, 64, 32), inputs: int = 1
) -> Path:
    """A network that gives the same answer for each person, whatever it sees."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["highest"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["highest", "highest"], ["zeros"]),
    ]
    for name, values in outputs.items():
        constant = onnx.numpy_helper.from_array(values.astype(np.float32)[None], f"{name}_value")
        nodes += [
            helper.make_node("Constant", [], [f"{name}_constant"], value=constant),
            helper.make_node("Reshape", ["zeros", f"{name}_rank"], [f"{name}_zeros"]),
            helper.make_node("Add", [f"{name}_zeros", f"{name}_constant"], [name]),
        ]
    ranks = [
        onnx.numpy_helper.from_array(np.array([-1] + [1] * values.ndim), f"{name}_rank")
        for name, values in outputs.items()
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(name, float32, shape) for name in ["input", "second"][:inputs]],
        [helper.make_tensor_value_info(name, float32, [shape[0], *value.shape]) for name, value in outputs.items()],
        ranks,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def _simcc(num_keypoints: int) -> dict[str, np.ndarray]:
    """Keypoint k is at x = 3 + k / 2 and y = 40 - k, with scores of 0.9 along x and 0.8 along y."""
    x, y = np.zeros((num_keypoints, 64)), np.zeros((num_keypoints, 128))
    for keypoint in range(num_keypoints):
        x[keypoint, 6 + keypoint], y[keypoint, 80 - 2 * keypoint] = 0.9, 0.8
    return {"simcc_x": x, "simcc_y": y}


@pytest.mark.parametrize("batch", ["batch", 1, 2])
def test_a_simcc_network_of_another_package_gives_its_keypoints(tmp_path: Path, batch: str | int):
    model = load_exported(_write_foreign(tmp_path / "rtmpose.onnx", _simcc(17), (batch, 3, 64, 32)))

    found = model.network.keypoints(np.zeros((3, 64, 32, 3), np.uint8))

    assert model.metadata.recipe.keypoint_table == COCO_17
    assert model.metadata.recipe.test.padding == (1.25, 1.25)
    keypoints = np.arange(17)
    expected = np.column_stack([3 + keypoints / 2, 40 - keypoints])
    np.testing.assert_allclose(found.keypoints_crop, np.tile(expected, (3, 1, 1)))
    np.testing.assert_allclose(found.peaks, 0.8)


def test_a_network_of_other_keypoints_leaves_them_unnamed(tmp_path: Path):
    recipe = load_exported(_write_foreign(tmp_path / "hand.onnx", _simcc(21))).metadata.recipe

    assert recipe.keypoint_table.name == "unnamed-21"
    assert not recipe.test.flip


def test_a_heat_map_network_of_another_package_gives_its_peaks_as_mmpose_reads_them(tmp_path: Path):
    # The highest cell (x 3, y 9), its right neighbor next: a quarter cell to the right of the cell's corner.
    maps = np.zeros((17, 16, 8))
    maps[:, 9, 3], maps[:, 9, 4] = 0.9, 0.4
    path = _write_foreign(tmp_path / "vitpose.onnx", {"output": maps})

    (pose,) = PoseEstimator(path, "none", device="cpu", flip=False)(np.zeros((80, 40, 3), np.uint8))

    # The box 40 x 80, padded to 50 x 100, is the crop of 32 x 64: 1.5625 image pixels a crop pixel, from (-5, -10) on.
    crop_pixels = np.array([4 * 3.25, 4 * 9.0])
    np.testing.assert_allclose(pose.keypoints_image, np.tile(crop_pixels * 1.5625 + [-5, -10], (17, 1)), atol=1e-6)
    np.testing.assert_allclose(pose.keypoint_scores, 0.9, atol=1e-6)


def test_networks_of_no_known_form_are_refused(tmp_path: Path):
    boxes = _write_foreign(tmp_path / "boxes.onnx", {"dets": np.zeros((100, 5))})
    open_size = _write_foreign(tmp_path / "open.onnx", _simcc(17), ("batch", 3, "height", "width"))
    two = _write_foreign(tmp_path / "two.onnx", _simcc(17), inputs=2)

    with pytest.raises(ExportError, match=r"boxes.onnx has outputs \(dets 1x100x5\) of no known form \(heat maps, "):
        load_exported(boxes)
    with pytest.raises(
        ExportError, match=r"normalized RGB crops .* but has \?x3x\?x\?; export it with its crop's size"
    ):
        load_exported(open_size)
    with pytest.raises(ExportError, match=r"two.onnx has 2 inputs; a pose network has one"):
        load_exported(two)


def test_commands_that_need_weights_say_so(tmp_path: Path):
    path = _write_foreign(tmp_path / "rtmpose.onnx", _simcc(17))

    with pytest.raises(MspnError, match=r"rtmpose.onnx is not a safetensors file"):
        load_runner(path)
