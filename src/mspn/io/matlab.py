"""MATLAB files, read by SciPy in a process of its own: damaged ones can crash it, hold it or fill the memory.

This module is also the program of that process, and so imports little.
"""

import ast
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mspn.errors import AnnotationError

_SECONDS = 120
_BYTES_AT_LEAST = 2**30
_BYTES_PER_BYTE = 300
"""MPII's file of 12 MiB becomes 1.5 GiB of arrays and structs."""
_BYTES_AT_MOST = 2**34
_PLAIN = {
    ("builtins", "complex"),
    ("types", "SimpleNamespace"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
}
"""Of what the answer consists."""


def read_in_process(path: Path, function: str, **settings: Any) -> Any:
    """What a function of `scipy.io` returns for a file; MATLAB's structs are `SimpleNamespace`s.

    Raises:
        ValueError: if it cannot be read: in words, why.
    """
    command = [sys.executable, "-c", f"from {__name__} import main; main()", str(path), function, repr(settings)]
    # The same packages as here, and one thread: each reserves memory, which is limited.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=_SECONDS, check=False
        )  # our own program
    except subprocess.TimeoutExpired:
        raise ValueError(f"it is not read after {_SECONDS} seconds") from None
    if done.returncode:
        raise ValueError("SciPy crashed")
    return _take(done.stdout)


def _take(pickled: bytes) -> Any:
    """The answer of the process; raises ValueError with the reason where there is none."""
    succeeded, answer = _Unpickler(io.BytesIO(pickled)).load()
    if not succeeded:
        raise ValueError(answer)
    return answer


class _Unpickler(pickle.Unpickler):
    """Takes nothing but data: a file that broke into the process must not get out of it."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise ValueError(f"it has values of {module}.{name}")
        return super().find_class(module, name)


def main() -> None:
    """Read the file of the command line, and write the pickled answer."""
    path, function, settings = sys.argv[1:]
    output = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed
    _limit_memory(min(_BYTES_AT_LEAST + _BYTES_PER_BYTE * Path(path).stat().st_size, _BYTES_AT_MOST))
    pickled = _answer(path, function, ast.literal_eval(settings))
    with os.fdopen(output, "wb") as file:
        file.write(pickled)


def _answer(path: str, function: str, settings: dict[str, Any]) -> bytes:
    """A pickle: whether it succeeded, and the answer or the reason."""
    answer: tuple[bool, Any]
    try:
        import scipy.io  # noqa: PLC0415  # needed in this process alone

        answer = True, _plain(getattr(scipy.io, function)(path, **settings))
    except MemoryError:
        answer = False, "it needs too much memory"
    except Exception as error:  # SciPy raises its own and many others
        answer = False, " ".join(str(error).split()) or type(error).__name__
    return pickle.dumps(answer, protocol=5)


def _limit_memory(num_bytes: int) -> None:
    try:
        import resource  # noqa: PLC0415  # there is none on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))


def _plain(value: Any) -> Any:
    """The value with SciPy's structs as namespaces."""
    if hasattr(value, "_fieldnames"):
        return SimpleNamespace(**{name: _plain(getattr(value, name)) for name in value._fieldnames})
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.hasobject and value.dtype.names is None:
        copy = value.copy()
        copy.ravel()[:] = [_plain(item) for item in value.ravel()]
        return copy
    return value


_MAX_BYTES = 512 * 2**20


def read_mat(path: Path, variable: str) -> Any:
    """A variable of a .mat file: arrays, and structs as objects, each without axes of length 1.

    Raises:
        AnnotationError: if there is no such file or variable, it is damaged or huge, or SciPy is not installed.
    """
    return take_variable(read_variables(path, variable), variable, path)


def read_variables(path: Path, *names: str) -> dict[str, Any]:
    """Those of the variables that a .mat file has, in the form of `read_mat`.

    Raises:
        AnnotationError: as `read_mat`.
    """
    content = _read(path, "loadmat", squeeze_me=True, struct_as_record=False, variable_names=list(names))
    return {name: content[name] for name in names if name in content}


def take_variable(variables: Mapping[str, Any], name: str, path: Path) -> Any:
    """One of the variables read from a file.

    Raises:
        AnnotationError: if it is not there.
    """
    if name not in variables:
        raise AnnotationError(f"{path} has no variable {name!r}; is it the annotation file?")
    return variables[name]


def mat_variables(path: Path) -> list[str]:
    """The names of a .mat file's variables.

    Raises:
        AnnotationError: as `read_mat`.
    """
    return [name for name, _shape, _kind in _read(path, "whosmat")]


def _read(path: Path, function: str, **settings: Any) -> Any:
    if not path.is_file():
        raise AnnotationError(f"no file at {path}; check the path")
    if path.stat().st_size > _MAX_BYTES:
        raise AnnotationError(f"{path} is larger than {_MAX_BYTES // 2**20} MiB; is it a label file?")
    try:
        return read_in_process(path, function, **settings)
    except ValueError as error:
        raise AnnotationError(f"{path} cannot be read as a MATLAB file ({error}); is it whole?") from error


def as_list(value: Any) -> list[Any]:
    """The entries of a MATLAB array of structs, of which a single one comes bare, and none as an empty array."""
    return list(value.ravel()) if isinstance(value, np.ndarray) else [value]


def number_or_none(value: Any) -> float | None:
    """A number; None for the empty array or text that stands for none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
