"""Opening ONNX files in onnxruntime, the extra `onnx`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mspn.errors import MspnError, import_extra
from mspn.inference.devices import count_threads

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_ERRORS_ONLY = 3


def open_session(path: Path, device: "torch.device | None", failure: type[MspnError], what: str) -> Any:
    """Open a file.

    Args:
        path: of the file.
        device: cuda is used where onnxruntime can; everything else is the CPU, as is None.
        failure: class of the errors.
        what: the file is, in messages.

    Raises:
        MspnError: of class `failure`, if onnxruntime is not installed, or the file is not there or cannot be read.
    """
    onnxruntime = import_extra("onnxruntime", failure(f"running {path} needs onnxruntime; pip install 'mspn[onnx]'"))
    if not path.is_file():
        raise failure(f"no file at {path}; check the path of the {what}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_threads()
    options.log_severity_level = _ERRORS_ONLY
    providers: list[Any] = ["CPUExecutionProvider"]
    if device is not None and device.type == "cuda":
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
