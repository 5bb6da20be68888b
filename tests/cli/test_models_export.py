import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import mspn
from mspn.export.files import digest_of_onnx
from mspn.export.onnx_file import write_metadata
from mspn.export.proof import Proof, proof_path
from mspn.inference.exported_files import parse_metadata
from tests.cli.runner import error_line, run
from tests.export.exported import WEIGHTS, exported_untrained
from tests.untrained import untrained_weights


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A copy of an exported file, beside its weights and without a proof."""
    folder = exported_untrained()
    for name in ("untrained.onnx", WEIGHTS):
        shutil.copy(folder / name, tmp_path)
    return tmp_path / "untrained.onnx"


def _prove(exported: Path, *arguments: object) -> Result:
    return run("models", "prove", exported, "--model", exported.with_name(WEIGHTS), *arguments)


def _change_one_weight(exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported)
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(largest).copy()
    values.flat[values.size // 2] += 1.0
    largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))
    onnx.save(model, exported)


def test_an_export_is_proven_beside_torch_and_says_what_was_compared(tmp_path: Path):
    weights = untrained_weights(tmp_path)

    result = run("models", "export", weights, tmp_path / "network.pt2", "--with-preprocessing", "--with-decoding")

    assert result.exit_code == 0, result.output
    assert "untrained in float32, from crops (NHWC, uint8, 64x64) to keypoints, scores, peaks" in result.stdout
    assert f"proven: {tmp_path / 'network.pt2.json'}" in result.stdout
    proof = Proof.model_validate_json((tmp_path / "network.pt2.json").read_text())
    assert proof.failures == ()
    assert proof.num_crops == 36  # two people of the sample images, in 18 boxes each
    assert proof.distances_px["largest"] <= proof.bounds["largest_px"] == 0.05
    assert set(proof.milliseconds) == {"torch"}
    assert list(proof.files) == ["network.pt2"]
    assert proof.weights == "untrained"


def test_an_export_of_which_one_weight_was_changed_fails_its_proof(exported: Path):
    assert _prove(exported).exit_code == 0
    proof_path(exported).unlink()
    _change_one_weight(exported)

    line = error_line(_prove(exported))

    assert "untrained.onnx: its weights were changed after the export (their SHA-256 differs); export it again" in line
    assert not proof_path(exported).exists()


def test_files_of_one_stem_keep_a_report_each(exported: Path):
    proof_path(exported.with_suffix(".xml")).write_text("of the other file")

    assert _prove(exported).exit_code == 0

    assert sorted(path.name for path in exported.parent.glob("*.json")) == ["untrained.onnx.json", "untrained.xml.json"]
    assert proof_path(exported.with_suffix(".xml")).read_text() == "of the other file"


def test_a_file_that_is_not_the_proven_one_is_told(exported: Path):
    onnx = pytest.importorskip("onnx")
    assert _prove(exported).exit_code == 0
    model = onnx.load(exported)
    model.graph.node[0].name = "renamed"
    onnx.save(model, exported)

    assert "is not the file that was proven: its SHA-256 differs from that in" in error_line(_prove(exported))


def test_an_export_whose_answers_differ_says_which_bound_does_not_hold(exported: Path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported)
    # The last step is from cells to crop pixels: 4 i + 2. With 4 i + 3, a pixel to the right and below.
    (last,) = (node for node in model.graph.node if "keypoints" in node.output)
    last.input[1] = "three"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(3, np.float32), "three"))
    metadata = parse_metadata(model.metadata_props[0].value, exported)
    write_metadata(model, metadata.model_copy(update={"tensors_sha256": digest_of_onnx(model)}).model_dump_json())
    onnx.save(model, exported)

    result = _prove(exported)

    assert result.exit_code == 2
    assert result.stderr.strip() == (
        f"error: {exported} is not proven: the largest keypoint distance in pixels, 1.4 is above 0.05"
    )
    assert "crop 0, nose: 1.41 pixels, peak " in result.stdout
    assert not proof_path(exported).exists()


def test_a_file_is_proven_against_its_own_weights_alone(exported: Path, tmp_path: Path):
    line = error_line(run("models", "prove", exported, "--model", "mspn-tiny"))

    assert "is not what" in line
    assert "its SHA-256 differs; name the weights with --model" in line


def test_a_report_that_is_no_proof_is_told(exported: Path):
    proof_path(exported).write_text("{}")

    assert "untrained.onnx.json is no proof of an exported file (files: Field required)" in error_line(_prove(exported))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mspn-tiny", "out.tflite"], "the ending says what to write; there are .onnx, .xml, .pt2, .mlpackage"),
        (["mspn-tiny", "out.onnx", "--half", "--int8"], "--half and --int8 exclude each other"),
        (["mspn-tiny", "out.onnx", "--int8"], "--int8 needs --images, a folder of images to calibrate on"),
        (["mspn-tiny", "out.pt2", "--int8", "--images", "."], ".pt2 does not hold int8; write .onnx or .xml"),
        (["mspn-tiny", "out.pt2", "--half"], ".pt2 files keep weights in 32 bits; write another format"),
        (["person-detector", "out.onnx", "--int8", "--images", "."], "int8 is for pose networks"),
        (["person-detector", "out.pt2", "--with-decoding"], "which .pt2 does not hold; write .onnx or .xml"),
        (["mspn-tiny", "out.mlpackage", "--with-preprocessing"], "CoreML takes no arrays of bytes"),
        (["person-detector", "out.mlpackage"], "coremltools does not convert the detector"),
        (["mspn-tiny", "out.mlpackage", "--with-decoding"], "coremltools does not convert the decoding"),
        (["mspn-tiny", "out.mlpackage"], "writing out.mlpackage needs coremltools; pip install coremltools"),
        (["mspn-tiny", "out.onnx", "--annotations", "x.json"], "--annotations needs --images"),
        (["person-detector", "out.onnx", "--images", "."], "are for pose networks; a detector is proven on"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_any_work(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    assert message in error_line(run("models", "export", *arguments))
    assert not list(tmp_path.iterdir())


def test_missing_libraries_name_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    weights = untrained_weights(tmp_path)

    line = error_line(run("models", "export", weights, tmp_path / "out.onnx"))

    assert "exporting needs onnx, onnxscript and onnxruntime; pip install 'mspn[onnx]'" in line


def test_commands_take_an_exported_file_in_place_of_weights(exported: Path, tmp_path: Path):
    image = Path(mspn.__file__).parent / "assets" / "sample" / "astronaut.jpg"
    found = {}
    for model in (exported, exported.with_name(WEIGHTS)):
        out = tmp_path / model.suffix
        result = run("predict", image, "--model", model, "--detector", "none", "--precision", "float32", "--out", out)
        assert result.exit_code == 0, result.output
        (content,) = json.loads((out / "predictions.json").read_text())
        (person,) = content["people"]
        found[model.suffix] = np.array(list(person["keypoints"].values()))

    timed = run("bench", "--model", exported, "--batch", "1", "--rounds", "1", "--out", tmp_path / "bench")

    # In pixels of an image that is eight times as large as the crop.
    np.testing.assert_allclose(found[".onnx"], found[".safetensors"], atol=0.1)
    assert timed.exit_code == 0, timed.output
    (rate,) = json.loads((tmp_path / "bench" / "bench.json").read_text())["rates"]
    assert (rate["engine"], rate["precision"], rate["error"]) == ("onnxruntime", "float32", None)
