"""Exported networks run without torch, which takes longer to import than they take to answer."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mspn import PoseEstimator
from mspn.checkpoints.hub import CACHE_VARIABLE
from mspn.cli import export
from mspn.inference import exported
from mspn.inference.devices import Precision
from mspn.inference.exported import RunWanted, prepared_files
from mspn.inference.exported_files import METADATA_KEY, compiled_folder, open_file
from tests.cli.runner import error_line, run
from tests.export.exported import WEIGHTS, exported_untrained

_PREDICT = """
import sys
for name in {missing}: sys.modules[name] = None  # every import of it is an error
from mspn.cli.app import main
main()
"""
_PIXELS = np.random.default_rng(3).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of weights of which the cache, which is empty otherwise, has no prepared file yet."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return Path(shutil.copy(exported_untrained() / WEIGHTS, tmp_path))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "photo.png"), _PIXELS[..., ::-1])
    return tmp_path / "photo.png"


def _write_onnx(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(exported_untrained() / "untrained.onnx", path)


def _write_openvino(path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    source = exported_untrained() / "untrained.onnx"
    metadata = open_file(source).metadata
    assert metadata
    network = openvino.Core().read_model(source)
    network.set_rt_info(metadata.model_dump_json(), METADATA_KEY)
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(network, path, compress_to_fp16=False)


def _prepare(weights: Path) -> Path:
    """What `mspn models prepare` makes of them for the fastest runtime that is installed."""
    path = prepared_files(weights)[0]
    (_write_openvino if path.suffix == ".xml" else _write_onnx)(path)
    return path


def _without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)


def _predict_without(missing: list[str], *arguments: object) -> None:
    command = [sys.executable, "-c", _PREDICT.format(missing=missing), "predict", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _expect_what_weights_find(out: Path) -> None:
    (image,) = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    (found,) = image["people"]
    (expected,) = PoseEstimator(exported_untrained() / WEIGHTS, "none", device="cpu", precision="float32")(_PIXELS)
    for name, (x, y, _) in found["keypoints"].items():
        np.testing.assert_allclose([x, y], expected[name][:2], atol=0.02)


def test_exported_networks_predict_without_torch_what_their_weights_do(photo: Path, tmp_path: Path):
    model, out = exported_untrained() / "untrained.onnx", tmp_path / "out"

    _predict_without(["torch"], photo, "--model", model, "--detector", "none", "--out", out)

    _expect_what_weights_find(out)


def test_prepared_weights_predict_without_torch_what_they_do_with_it(weights: Path, photo: Path, tmp_path: Path):
    _prepare(weights)
    settings = ["--device", "cpu", "--precision", "float32", "--detector", "none"]

    _predict_without(["torch"], photo, "--model", weights, *settings, "--out", tmp_path / "out")

    _expect_what_weights_find(tmp_path / "out")


def test_openvino_compiles_a_prepared_network_once(weights: Path):
    file = _prepare(weights)
    if file.suffix != ".xml":
        pytest.skip("openvino is not installed")
    crops = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)
    expected = {precision: _answer(file, precision, crops) for precision in ("float32", "bfloat16")}
    kept = compiled_folder(file)
    kept.mkdir()

    first = {precision: _answer(file, precision, crops) for precision in expected}
    written = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    again = {precision: _answer(file, precision, crops) for precision in expected}

    assert written
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == written
    for path in written:
        path.write_bytes(path.read_bytes()[:1000])
    damaged = {precision: _answer(file, precision, crops) for precision in expected}
    for precision, answer in expected.items():
        for found in (first, again, damaged):
            np.testing.assert_array_equal(found[precision], answer)


def _answer(file: Path, precision: Precision, crops: np.ndarray) -> np.ndarray:
    opened = open_file(file, precision)
    return opened.run({opened.inputs[0].name: crops})["peaks"]


def test_a_photo_needs_neither_torch_nor_openvino(
    weights: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _without_openvino(monkeypatch)
    assert _prepare(weights).suffix == ".onnx"
    settings = ["--device", "cpu", "--detector", "none"]

    _predict_without(["torch", "openvino"], photo, "--model", weights, *settings, "--out", tmp_path / "out")

    _expect_what_weights_find(tmp_path / "out")


def test_a_prepared_file_is_of_these_very_weights_and_this_version(weights: Path, monkeypatch: pytest.MonkeyPatch):
    before = _prepare(weights)
    assert before.is_relative_to(weights.parent / "cache")
    wanted = RunWanted("auto", "float32", "cpu", num_images=1)
    assert wanted.find_prepared(weights) == before

    with monkeypatch.context() as newer:
        newer.setattr(exported, "__version__", "99.0")
        assert wanted.find_prepared(weights) is None
    assert wanted.find_prepared(weights) == before
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert wanted.find_prepared(weights) is None


@pytest.mark.parametrize(
    ("suffix", "takes"),
    [
        # OpenVINO has the precisions of torch; onnxruntime has float32 alone, which may be slower.
        (
            ".xml",
            {"auto auto", "auto float32", "auto bfloat16", "openvino auto", "openvino float32", "openvino bfloat16"},
        ),
        (".onnx", {"auto float32", "onnxruntime auto", "onnxruntime float32"}),
    ],
)
def test_prepared_files_take_the_place_of_torch_where_they_are_no_slower(
    suffix: str, takes: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = tmp_path / "network.safetensors"
    weights.touch()
    monkeypatch.setenv("MSPN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(exported, "_installed_suffixes", lambda: [suffix])
    (file,) = exported.prepared_files(weights)
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setattr(exported, "may_have_gpu", lambda: False)
    engines, precisions = ("auto", "torch", "onnxruntime", "openvino"), ("auto", "float32", "bfloat16", "int8")

    def taken(device: str = "cpu", num_images: int | None = 9, *, is_changed: bool = False) -> set[str]:
        return {
            f"{engine} {precision}"
            for engine in engines
            for precision in precisions
            if RunWanted(engine, precision, device, num_images, is_changed).find_prepared(weights)
        }

    assert taken() == taken("auto") == taken(num_images=None) == takes
    assert taken(num_images=8) == takes | {"auto auto"}
    assert taken("cuda") == taken(is_changed=True) == set()
    monkeypatch.setattr(exported, "may_have_gpu", lambda: True)
    assert taken("auto") == set()


def test_onnxruntime_starts_sooner_and_openvino_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    weights = tmp_path / "network.safetensors"
    weights.touch()
    monkeypatch.setenv("MSPN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(exported, "_installed_suffixes", lambda: [".xml", ".onnx"])
    monkeypatch.setattr(exported, "may_have_gpu", lambda: False)
    fast, soon = exported.prepared_files(weights)
    fast.parent.mkdir(parents=True)
    fast.touch()

    def taken(precision: Precision = "auto", num_images: int | None = 1) -> Path | None:
        return RunWanted("auto", precision, "cpu", num_images).find_prepared(weights)

    assert taken() == fast  # the other one is not there
    soon.touch()
    assert [taken(num_images=count) for count in (1, 2, 3, None)] == [soon, soon, fast, fast]
    assert [taken("float32"), taken("bfloat16"), taken("int8")] == [soon, fast, None]
    fast.unlink()
    assert [taken(num_images=3), taken(num_images=9)] == [soon, None]


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda _content: b""])
def test_a_damaged_prepared_file_is_told_and_the_weights_predict(
    damage: Callable[[bytes], bytes], weights: Path, photo: Path, tmp_path: Path
):
    path = _prepare(weights)
    tensors = path.with_suffix(".bin") if path.suffix == ".xml" else path
    tensors.write_bytes(damage(tensors.read_bytes()))
    settings = ["--device", "cpu", "--precision", "float32", "--detector", "none"]

    result = run("predict", photo, "--model", weights, *settings, "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if str(path) in line]
    assert "`mspn models prepare` makes it again, and torch runs the weights until then" in line
    _expect_what_weights_find(tmp_path / "out")


def _prepare_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `mspn models prepare` write files that are made already, and prepare no detector, which takes long."""
    writers = {".xml": _write_openvino, ".onnx": _write_onnx}
    monkeypatch.setattr(export, "write_export", lambda _export, path: writers[path.suffix](path))
    monkeypatch.setattr(export, "EMBEDDED", exported_untrained() / WEIGHTS)
    monkeypatch.setattr(export, "find_with_bar", Path)


def test_prepare_puts_proven_files_into_the_cache_once(weights: Path, monkeypatch: pytest.MonkeyPatch):
    paths = prepared_files(weights)
    assert paths
    _prepare_quickly(monkeypatch)
    replace, missing = Path.replace, []

    def watched(self: Path, target: Path) -> Any:
        if self.suffix == ".xml":  # whoever finds it opens its tensors
            missing.append(not target.with_suffix(".bin").exists())
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)

    first, second = run("models", "prepare", weights), run("models", "prepare", weights)

    assert first.exit_code == second.exit_code == 0, first.output
    for path in paths:
        assert f"{path}, proven, after" in first.stdout
        assert f"prepared before, {path}" in second.stdout
        assert open_file(path).metadata
        assert path.suffix != ".xml" or any(compiled_folder(path).iterdir())
    assert not any(missing)
    suffixes = {".xml": {".xml", ".bin"}, ".onnx": {".onnx"}}
    expected = set().union(*(suffixes[path.suffix] for path in paths))
    assert {file.suffix for file in paths[0].parent.iterdir() if file.is_file()} == expected


def test_what_computes_something_else_than_its_weights_is_not_prepared(weights: Path, monkeypatch: pytest.MonkeyPatch):
    _prepare_quickly(monkeypatch)
    judged = export.prove_pose_network
    wrong = {"failures": ("the largest keypoint distance in pixels, 9, is above 0.05",)}
    monkeypatch.setattr(export, "prove_pose_network", lambda *given: judged(*given).model_copy(update=wrong))

    line = error_line(run("models", "prepare", weights))

    assert "is not what its export computes (the largest keypoint distance in pixels, 9, is above 0.05)" in line
    assert not any(path.exists() for path in prepared_files(weights))


def test_prepared_files_are_no_published_weights(weights: Path):
    _prepare(weights).write_bytes(b"damaged")

    verified = run("models", "verify")

    assert verified.exit_code == 0, verified.output
    assert "untrained" not in verified.output


def test_a_cache_that_cannot_be_written_to_is_one_line(weights: Path, monkeypatch: pytest.MonkeyPatch):
    (weights.parent / "cache").write_text("in the way")
    _prepare_quickly(monkeypatch)

    line = error_line(run("models", "prepare", weights))

    assert "cannot write to the cache" in line
    assert "MSPN_CACHE" in line
