"""Weights in half the bytes, for files that travel."""

from typing import Any

import numpy as np
from torch import nn

from mspn.errors import ExportError
from mspn.export.graphs import NETWORK
from mspn.io.extras import import_extra

_MAX_RELATIVE_ERROR = 1e-5


def halve_weights(encoded: bytes, network: nn.Module) -> bytes:
    """Store an ONNX file's convolutions in half the bytes, as exactly as the network's own weights fit into float16.

    An exported weight is the network's own times a factor of its channel, since norms are folded into convolutions.
    Stored are the network's own in float16, which is what weights files have, and the factors in float32. What loads
    the file multiplies them once, and computes in float32 then.

    Args:
        encoded: an ONNX file in float32, of `mspn.export`.
        network: that it was exported from.

    Raises:
        ExportError: if onnx is not installed.
    """
    onnx = import_extra("onnx", ExportError("exporting needs onnx; pip install 'mspn[onnx]'"))
    model = onnx.load_model_from_string(encoded)
    graph, helper, from_array = model.graph, onnx.helper, onnx.numpy_helper.from_array
    own = network.state_dict()
    for item in list(graph.initializer):
        name = item.name.partition(f"{NETWORK}.")[2]
        if name not in own or len(item.dims) != 4:
            continue
        folded, half = onnx.numpy_helper.to_array(item), own[name].numpy().astype(np.float16)
        factors = _channel_factors(folded, half)
        if not np.allclose(half * factors, folded, rtol=0, atol=_MAX_RELATIVE_ERROR * np.abs(folded).max()):
            continue
        graph.initializer.remove(item)
        stored = {f"{item.name}.half": half, f"{item.name}.factors": factors}
        graph.initializer.extend(from_array(values, name) for name, values in stored.items())
        wide, (half_name, factors_name) = f"{item.name}.wide", stored
        graph.node.insert(0, helper.make_node("Mul", [wide, factors_name], [item.name]))
        graph.node.insert(0, helper.make_node("Cast", [half_name], [wide], to=onnx.TensorProto.FLOAT))
    return bytes(model.SerializeToString())


def _channel_factors(folded: Any, half: Any) -> Any:
    """Of each output channel, (C, 1, 1, 1): what its weights were multiplied with, by least squares."""
    own = half.astype(np.float64)
    sums = (own**2).sum((1, 2, 3), keepdims=True)
    return ((folded * own).sum((1, 2, 3), keepdims=True) / np.where(sums == 0, 1, sums)).astype(np.float32)
