"""Inference engines: torch, or the libraries of the extras `onnx` and `openvino`, which run a network as ONNX."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from mspn.errors import InvalidValueError, import_extra
from mspn.inference.devices import Engine, Precision, check_process, choose_precision, openvino_core
from mspn.inference.fold import CROPS, export_onnx, find_unused, prepare
from mspn.inference.quantization import CalibrationRanges, find_float32_nodes, quantize
from mspn.models.base import PoseNetwork, normalize
from mspn.structures.boxes import Size
from mspn.structures.shapes import Float, UInt8

_ERRORS_ONLY = 3


class OpenVinoEngine:
    """OpenVINO, the extra `openvino`."""

    def __init__(self, model: PoseNetwork, precision: Precision, ranges: CalibrationRanges) -> None:
        """Compile a network; errors as in `start_engine`."""
        self._size = model.config.input_size
        core = openvino_core(_not_installed("openvino"))
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
        onnxruntime = import_extra("onnxruntime", _not_installed("onnxruntime"))
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
    return quantize(exported, ranges, find_float32_nodes(exported)) if precision == "int8" else exported


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


def _not_installed(library: str) -> InvalidValueError:
    extra = "onnx" if library == "onnxruntime" else library
    return InvalidValueError(f"engine {library} is not installed; pip install 'mspn[{extra}]'")


HeatmapFunction = Callable[[UInt8[Tensor, "B H W 3"]], Float[Tensor, "B K h w"]]
"""Float32 heat maps of RGB crops."""


class EngineChoice(NamedTuple):
    """An engine and a precision, neither of them "auto"."""

    engine: Engine
    precision: Precision


def choose_engine(engine: Engine, precision: Precision, device: torch.device) -> EngineChoice:
    """Resolve "auto" in engine and precision.

    The default engine is torch, which every installation has and which starts at once; faster extras are used only by
    name. int8, which torch does not have, takes OpenVINO if it is installed, else onnxruntime.

    Raises:
        ValueError: for an unknown engine or precision, or a combination that is not supported.
    """
    if engine not in get_args(Engine):
        raise InvalidValueError(f"no engine {engine!r}; there are {', '.join(get_args(Engine))}")
    if engine in ("onnxruntime", "openvino") and device.type != "cpu":
        raise InvalidValueError(
            f"engine {engine} computes on the CPU, not on {device}; use --device cpu or engine torch"
        )
    if engine == "onnxruntime":
        if precision == "bfloat16":
            raise InvalidValueError(
                "onnxruntime has no bfloat16 on CPUs; use precision float32, or engine torch or openvino"
            )
        precision = "int8" if precision == "int8" else "float32"
    precision = choose_precision(precision, device)
    if precision == "int8":
        return EngineChoice(_choose_int8_engine(engine, device), precision)
    return EngineChoice("torch" if engine == "auto" else engine, precision)


def _choose_int8_engine(engine: Engine, device: torch.device) -> Engine:
    if engine == "torch" or device.type != "cpu":
        raise InvalidValueError("int8 is for engines openvino and onnxruntime on --device cpu; use these, or bfloat16")
    if engine == "auto":
        return "openvino" if find_spec("openvino") else "onnxruntime"
    return engine


def start_engine(
    choice: EngineChoice, model: PoseNetwork, device: torch.device, ranges: CalibrationRanges
) -> HeatmapFunction:
    """Prepare a network for inference.

    Args:
        choice: engine and precision.
        model: the network, in any mode; not modified.
        device: to compute on.
        ranges: for int8, see `quantize`.

    Raises:
        ValueError: if the engine is not installed, or the ranges are not of this network.
    """
    match choice.engine:
        case "openvino":
            return OpenVinoEngine(model, choice.precision, ranges)
        case "onnxruntime":
            return OnnxRuntimeEngine(model, choice.precision, ranges)
        case _:
            return TorchEngine(model, choice.precision, device)


class TorchEngine:
    """torch itself, on any device."""

    def __init__(self, model: PoseNetwork, precision: Precision, device: torch.device) -> None:
        self._device = device
        self._dtype: torch.dtype = getattr(torch, precision)
        self._model = prepare(model, device, self._dtype, unused=find_unused(model))

    @torch.inference_mode()
    def __call__(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """Heat maps on the engine's device."""
        pixels = normalize(crops.to(self._device)).to(self._dtype)
        return self._model.final_heatmaps(pixels).float()
