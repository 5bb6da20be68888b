"""Digests of the tensors in exported files, which reveal a weight that was changed, even where no answer shows it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch.export import ExportedProgram

from mspn.errors import ExportError
from mspn.io.extras import import_extra
from mspn.io.files import sha256_of


def digest_of_file(path: Path) -> str:
    """SHA-256 of the tensors in a .onnx or .xml file.

    Raises:
        ExportError: if onnx is not installed.
    """
    match path.suffix.lower():
        case ".xml":
            return sha256_of(path.with_suffix(".bin"))
        case _:
            onnx = import_extra("onnx", ExportError(f"proving {path} needs onnx; pip install 'mspn[onnx]'"))
            return digest_of_onnx(onnx.load(path))


def digest_of_program(program: ExportedProgram) -> str:
    """SHA-256 of the tensors of a traced graph."""
    tensors = {**program.state_dict, **program.constants}
    return _digest((name, tensors[name].cpu().numpy()) for name in sorted(tensors))


def digest_of_onnx(model: Any) -> str:
    """SHA-256 of the tensors of an ONNX model."""
    to_array = import_extra("onnx.numpy_helper", ExportError("onnx is not installed")).to_array
    return _digest((tensor.name, to_array(tensor)) for tensor in model.graph.initializer)


def _digest(tensors: Iterable[tuple[str, np.ndarray]]) -> str:
    digest = hashlib.sha256()
    for name, values in tensors:
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
