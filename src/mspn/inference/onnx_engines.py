"""Engines that run a network as ONNX, on the CPU, with as many threads as torch has."""

import os
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.errors import InvalidValueError
from mspn.inference.devices import Precision, check_process
from mspn.inference.onnx_export import CROPS, export_onnx
from mspn.inference.quantization import CalibrationRanges, quantize
from mspn.io.extras import import_extra
from mspn.models.base import PoseNetwork
from mspn.structures.boxes import Size

_ERRORS_ONLY = 3


class OpenVinoEngine:
    """OpenVINO, the extra `openvino`."""

    def __init__(self, model: PoseNetwork, precision: Precision, ranges: CalibrationRanges) -> None:
        """Compile a network; errors as in `start_engine`."""
        openvino = _load("openvino")
        self._size = model.config.input_size
        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        network = core.read_model(_as_onnx(model, precision, ranges), b"")
        self._compiled: Any = core.compile_model(network, "CPU", settings)
        self._process = os.getpid()

    def __call__(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """Heat maps on the CPU; crops are of the network's size."""
        _check_size(crops, self._size)
        check_process(self._process, "engine openvino")
        # A request of its own: `compiled(...)` has one for all threads, which mixes up their maps. It takes 5 us.
        request = self._compiled.create_infer_request()
        return torch.from_numpy(request.infer(crops.numpy(), share_inputs=True)[0])


class OnnxRuntimeEngine:
    """onnxruntime, the extra `onnx`, in float32 or int8."""

    def __init__(self, model: PoseNetwork, precision: Precision, ranges: CalibrationRanges) -> None:
        """Open a network; errors as in `start_engine`."""
        onnxruntime = _load("onnxruntime")
        self._size = model.config.input_size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = _ERRORS_ONLY
        providers = ["CPUExecutionProvider"]
        network = _as_onnx(model, precision, ranges)
        self._session: Any = onnxruntime.InferenceSession(network, options, providers=providers)
        self._process = os.getpid()

    def __call__(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """Heat maps on the CPU; crops are of the network's size."""
        _check_size(crops, self._size)
        check_process(self._process, "engine onnxruntime")
        return torch.from_numpy(self._session.run(None, {CROPS: crops.numpy()})[0])


def _as_onnx(model: PoseNetwork, precision: Precision, ranges: CalibrationRanges) -> bytes:
    exported = export_onnx(model)
    return quantize(exported, ranges) if precision == "int8" else exported


def _check_size(crops: Tensor, size: Size) -> None:
    """Refuse crops that the exported network does not take.

    Raises:
        ValueError: naming both sizes.
    """
    height, width = crops.shape[1:3]
    if (height, width) != size:
        raise InvalidValueError(
            f"crops are {height}x{width} pixels, but this network is for {size.height}x{size.width};"
            " only the engine torch takes others"
        )


def _load(library: str) -> Any:
    extra = "onnx" if library == "onnxruntime" else library
    return import_extra(library, InvalidValueError(f"engine {library} is not installed; pip install 'mspn[{extra}]'"))
