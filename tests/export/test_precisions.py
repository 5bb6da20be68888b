"""Exports in 16 and 8 bits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mspn.checkpoints.format import load_checkpoint
from mspn.export.files import write_export
from mspn.export.graphs import Inside, Source, build_pose_export
from mspn.export.onnx_file import halve
from mspn.inference.exported import load_exported
from mspn.models.base import normalize
from tests.export.exported import WEIGHTS, exported_untrained
from tests.made_once import made_once
from tests.untrained import untrained_weights

pytestmark = pytest.mark.slow  # each export takes seconds

_CROPS = torch.randint(0, 256, (12, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def _export(folder: Path) -> None:
    weights = untrained_weights(folder)
    for name, inside, crops in (
        ("half.onnx", Inside(precision="float16"), None),
        ("int8.onnx", Inside(decoding=True, precision="int8"), _CROPS),
    ):
        checkpoint = load_checkpoint(weights)
        if inside.precision == "float16":
            checkpoint.model.half().float()  # as weights files that are stored in 16 bits
        export = build_pose_export(checkpoint, Source("untrained", "0" * 64), inside)
        write_export(export, folder / name, crops)


@pytest.fixture
def folder() -> Path:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    return made_once("exported_precisions", _export)


def test_half_keeps_weights_in_16_bits_and_takes_and_gives_32(folder: Path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(folder / "half.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer if np.prod(tensor.dims[1:]) > 8}
    outer = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    network = load_checkpoint(folder / "untrained.safetensors").model.half().float()

    heatmaps = load_exported(folder / "half.onnx").network(_CROPS.numpy())

    assert kinds == {onnx.TensorProto.FLOAT16}
    assert outer == {onnx.TensorProto.FLOAT}
    with torch.inference_mode():
        expected = network.final_heatmaps(normalize(_CROPS)).numpy()
    assert np.linalg.norm(heatmaps - expected) / np.linalg.norm(expected) < 1e-4


def test_weights_of_32_bits_are_rounded_to_half(tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    folder = exported_untrained()
    network = load_checkpoint(folder / WEIGHTS).model
    model = onnx.load(folder / "untrained.onnx")

    onnx.save(halve(model, network), tmp_path / "halved.onnx")

    files = [tmp_path / "halved.onnx", folder / "untrained.onnx"]
    halved, whole = (path.stat().st_size for path in files)
    assert halved < 0.65 * whole
    peaks, expected = (load_exported(path).network.keypoints(_CROPS.numpy()).peaks for path in files)
    assert 1e-6 < np.abs(peaks - expected).mean() < 1e-2


def test_int8_rounds_the_network_and_leaves_its_first_layer_and_decoding_as_they_are(folder: Path):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(folder / "int8.onnx").graph
    makers = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    filters = [node for node in graph.node if node.op_type == "MatMul"]

    exported = load_exported(folder / "int8.onnx")

    first, *others = ({makers[name].op_type for name in node.input if name in makers} for node in convolutions)
    assert "DequantizeLinear" not in first
    assert all(taken == {"DequantizeLinear"} for taken in others)
    assert len(filters) == 2
    assert not any(
        name in makers and makers[name].op_type == "DequantizeLinear"
        for node in graph.node
        if node.op_type in ("MatMul", "ArgMax")
        for name in node.input
    )
    assert exported.network.precision == "int8"
    keypoints = exported.network.keypoints(_CROPS.numpy()).keypoints_crop
    assert keypoints.shape == (12, 17, 2)
    assert np.isfinite(keypoints).all()
