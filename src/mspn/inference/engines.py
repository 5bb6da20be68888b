"""Inference engines: torch, or the libraries of the extras `onnx` and `openvino`."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.errors import InvalidValueError
from mspn.inference.devices import Precision, choose_precision
from mspn.inference.fold import find_unused, prepare
from mspn.inference.onnx_engines import OnnxRuntimeEngine, OpenVinoEngine
from mspn.inference.quantization import CalibrationRanges
from mspn.models.base import PoseNetwork, normalize

Engine = Literal["auto", "torch", "onnxruntime", "openvino"]

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
