"""ONNX files: pose networks as some, and opening them in onnxruntime, the extra `onnx`."""

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from mspn.errors import InvalidValueError, MspnError, import_extra
from mspn.inference.fold import find_unused, fold_norms
from mspn.models.base import PoseNetwork, normalize

logger = logging.getLogger(__name__)

CROPS = "crops"
HEATMAPS = "heatmaps"
_BATCH = 2
_OPSET = 17


class _FromPixels(nn.Module):
    """RGB uint8 crops (B, H, W, 3) to the last heat maps (B, K, H/4, W/4)."""

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Tensor:
        return self.network.final_heatmaps(normalize(crops))


def export_onnx(network: PoseNetwork) -> bytes:
    """An ONNX file in float32, norms folded: uint8 `crops` (B, H, W, 3) of the network's size to its last `heatmaps`.

    Args:
        network: in any mode, on the CPU; not modified.

    Raises:
        ValueError: if onnx is not installed.
    """
    folded = fold_norms(network, find_unused(network))
    crops = torch.zeros(_BATCH, *network.config.input_size, 3, dtype=torch.uint8)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # Warnings that sizes are fixed, as intended, and of a newer exporter, which takes three times as long.
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        try:
            torch.onnx.export(
                _FromPixels(folded).eval(),
                (crops,),
                path,
                input_names=[CROPS],
                output_names=[HEATMAPS],
                dynamic_axes={name: {0: "people"} for name in (CROPS, HEATMAPS)},
                opset_version=_OPSET,
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise InvalidValueError("this engine takes networks in onnx's format; pip install 'mspn[onnx]'") from error
        return path.read_bytes()


_ERRORS_ONLY = 3


def open_session(path: Path, device: torch.device, failure: type[MspnError], what: str) -> Any:
    """Open a file.

    Args:
        path: of the file.
        device: cuda is used where onnxruntime can; everything else is the CPU, with as many threads as torch has.
        failure: class of the errors.
        what: the file is, in messages.

    Raises:
        MspnError: of class `failure`, if onnxruntime is not installed, or the file is not there or cannot be read.
    """
    onnxruntime = import_extra("onnxruntime", failure(f"running {path} needs onnxruntime; pip install 'mspn[onnx]'"))
    if not path.is_file():
        raise failure(f"no file at {path}; check the path of the {what}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = _ERRORS_ONLY
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
        else:
            logger.warning("onnxruntime has no CUDA, so %s runs on the CPU; pip install onnxruntime-gpu", path)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no other base
        raise failure(
            f"{path} is no ONNX file that onnxruntime {onnxruntime.__version__} can read ({first_line(error)});"
            " is it whole?"
        ) from error


def first_line(error: Exception) -> str:
    """Of an error of onnxruntime or openvino, whose messages have many."""
    return str(error).strip().partition("\n")[0][:200]
