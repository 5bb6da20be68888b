import numpy as np
import pytest
import torch
from torch import nn

from mspn.export.onnx_file import halve_weights

onnx = pytest.importorskip("onnx")


class _Network(nn.Module):
    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, len(weights), 1, bias=False)
        self.conv.weight.data = torch.tensor(weights)[:, :, None, None]


def _file(weights: list[list[float]]) -> bytes:
    """An exported convolution of one pixel with two channels."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    name = "inside.network.conv.weight"
    graph = helper.make_graph(
        [helper.make_node("Conv", ["crops", name], ["heatmaps"])],
        "graph",
        [helper.make_tensor_value_info("crops", kind, [1, 2, 1, 1])],
        [helper.make_tensor_value_info("heatmaps", kind, [1, len(weights), 1, 1])],
        [onnx.numpy_helper.from_array(np.array(weights, np.float32)[:, :, None, None], name)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def test_weights_of_float16_and_what_norms_made_of_them_lose_nothing():
    # Norms have made the channels 3 and 0.1 times as large; a tenth is no number of float16.
    onnxruntime = pytest.importorskip("onnxruntime")
    halved = halve_weights(_file([[1.5, 3.0], [-0.125, 0.2]]), _Network([[0.5, 1.0], [-1.25, 2.0]]))

    session = onnxruntime.InferenceSession(halved)
    (heatmaps,) = session.run(None, {"crops": np.array([2.0, 1.0], np.float32).reshape(1, 2, 1, 1)})

    assert heatmaps.ravel() == pytest.approx([6.0, -0.05], abs=1e-7)
    assert _stored(halved) == {"float16": [0.5, 1.0, -1.25, 2.0], "float32": pytest.approx([3.0, 0.1])}


def test_weights_that_float16_does_not_hold_stay_as_they_are():
    weights = [[1.0001, 0.1]]

    assert _stored(halve_weights(_file(weights), _Network(weights))) == {"float32": pytest.approx(weights[0])}


def _stored(encoded: bytes) -> dict[str, list[float]]:
    arrays = map(onnx.numpy_helper.to_array, onnx.load_model_from_string(encoded).graph.initializer)
    return {str(array.dtype): array.ravel().tolist() for array in arrays}
