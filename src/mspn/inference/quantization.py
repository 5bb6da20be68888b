"""Quantization of networks to int8, but for their first layers: activations by calibrated ranges, weights per channel.

It uses onnxruntime's tools, of the extra `onnx`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from mspn.errors import InvalidValueError, import_extra
from mspn.inference.fold import CROPS, export_onnx
from mspn.models.base import PoseNetwork
from mspn.structures.shapes import Shaped, UInt8

CalibrationRanges = Mapping[str, tuple[float, float]]
"""Lowest and highest value of each activation, by its name in the ONNX file."""

_BATCH = 8
_QUANTIZED_OPERATORS = ["Conv", "ConvTranspose", "Add", "Relu", "Clip", "Resize", "MaxPool"]
"""Operators computed in int8. All but the first two cost little, but are included to avoid conversions between them."""
_FLOAT32_PARTS = ("stem.conv.", "stem.blocks.0.")
"""Modules of a network that stay in float32: of the squared error in 8 bits, half would be theirs."""
_ITEM = re.compile(r"\w+\.(?=\d)")
"""How the exporter repeats the name of a sequence before the number of an item: /stem/blocks/blocks.0/."""


class _Tools(NamedTuple):
    onnx: Any
    quantization: Any
    calibrate: Any


class _Batches:
    """Crops in batches, with the interface of onnxruntime's CalibrationDataReader."""

    def __init__(self, crops: Shaped[Tensor, "N ..."]) -> None:
        self._parts = (crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH))

    def get_next(self) -> dict[str, Shaped[np.ndarray, "B ..."]] | None:
        part = next(self._parts, None)
        return None if part is None else {CROPS: part.numpy()}


def calibrate_activations(network: PoseNetwork, crops: UInt8[Tensor, "N H W 3"]) -> dict[str, tuple[float, float]]:
    """Measure the range of each activation over some crops, for the engines.

    Args:
        network: in any mode, on the CPU; not modified.
        crops: of typical people; a hundred or two.

    Raises:
        ValueError: if onnxruntime or onnx is not installed.
    """
    return measure_ranges(export_onnx(network), crops)


def measure_ranges(exported: bytes, crops: Shaped[Tensor, "N ..."]) -> dict[str, tuple[float, float]]:
    """Measure the range of each activation of an ONNX file over some crops.

    Args:
        exported: a file whose one input is `crops`.
        crops: of typical people, as the file takes them.

    Raises:
        ValueError: if onnxruntime or onnx is not installed.
    """
    tools = _load_tools()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(exported)
        calibrator = tools.calibrate.create_calibrator(path, _QUANTIZED_OPERATORS, str(path.with_stem("watched")))
        calibrator.collect_data(_Batches(crops))
        measured_ranges = calibrator.compute_data()
    return {
        name: (np.asarray(ends.lowest).item(), np.asarray(ends.highest).item())
        for name, ends in measured_ranges.items()
    }


def stays_in_float32(module: str) -> bool:
    """Whether a module of a network, by its dotted name, is one of those that 8 bits are too coarse for."""
    return f"{module}.".startswith(_FLOAT32_PARTS)


def find_float32_nodes(exported: bytes) -> list[str]:
    """Names of the nodes of those modules in what `export_onnx` gives.

    Raises:
        ValueError: if onnxruntime or onnx is not installed.
    """
    names = [node.name for node in _load_tools().onnx.load_model_from_string(exported).graph.node]
    return [name for name in names if stays_in_float32(_ITEM.sub("", name).strip("/").replace("/", "."))]


def quantize(exported: bytes, ranges: CalibrationRanges, excluded: Sequence[str] = ()) -> bytes:
    """An ONNX file that computes in 8-bit integers.

    Args:
        exported: an ONNX file in float32.
        ranges: of the same file, from `measure_ranges` or `calibrate_activations`.
        excluded: nodes that stay in float32, see `find_float32_nodes`.

    Raises:
        ValueError: if onnxruntime or onnx is not installed, there are no ranges, or they are of another network.
    """
    if not ranges:
        raise InvalidValueError(
            "int8 needs calibrated ranges of activations; measure them on images with `mspn models quantize`"
        )
    tools = _load_tools()
    limits = {name: tuple(np.array(value, np.float32) for value in ends) for name, ends in ranges.items()}
    kinds = tools.quantization.QuantType
    model = tools.onnx.load_model_from_string(exported)
    _unshare_tensors(model.graph)
    quantizer = tools.quantization.QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=kinds.QInt8,
        activation_qType=kinds.QUInt8,
        tensors_range=tools.calibrate.TensorsData(tools.calibrate.CalibrationMethod.MinMax, limits),
        nodes_to_quantize=[],
        nodes_to_exclude=list(excluded),
        op_types_to_quantize=_QUANTIZED_OPERATORS,
        extra_options={"WeightSymmetric": True},
    )
    try:
        quantizer.quantize_model()
    except ValueError as error:
        raise InvalidValueError(
            "the calibration ranges in the weights file are of another network; measure them again with"
            " `mspn models quantize`"
        ) from error
    quantized: bytes = quantizer.model.model.SerializeToString()
    return quantized


def _unshare_tensors(graph: Any) -> None:
    """Copy shared tensors: torch exports equal tensors once, and the tools quantize only those of a single node."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    seen: set[str] = set()

    def add_copy(of: str, name: str) -> None:
        copied = graph.initializer.add()
        copied.CopyFrom(tensors[of])
        copied.name = name

    for node in list(graph.node):
        if node.op_type == "Identity" and node.input[0] in tensors:
            add_copy(node.input[0], node.output[0])
            graph.node.remove(node)
            continue
        for index, name in enumerate(node.input):
            if name in tensors and name in seen:
                node.input[index] = f"{name}.{node.name}.{index}"
                add_copy(name, node.input[index])
            seen.add(name)


def _load_tools() -> _Tools:
    names = ("onnx", "onnxruntime.quantization", "onnxruntime.quantization.calibrate")
    missing = InvalidValueError("int8 needs onnxruntime's tools; pip install 'mspn[onnx]'")
    return _Tools(*(import_extra(name, missing) for name in names))
