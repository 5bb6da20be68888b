"""MATLAB files, which only some data sets come in: read by SciPy, which is asked for when it is needed."""

from pathlib import Path
from typing import Any

import numpy as np

from mspn.errors import AnnotationError
from mspn.io.extras import import_extra
from mspn.io.mat_process import read_in_process

_MAX_BYTES = 512 * 2**20


def read_mat(path: Path, variable: str) -> Any:
    """A variable of a .mat file: arrays, and structs as objects, each without axes of length 1.

    Raises:
        AnnotationError: if there is no such file or variable, it is damaged or huge, or SciPy is not installed.
    """
    content = _read(path, "loadmat", squeeze_me=True, struct_as_record=False, variable_names=[variable])
    if variable not in content:
        raise AnnotationError(f"{path} has no variable {variable!r}; is it the annotation file?")
    return content[variable]


def mat_variables(path: Path) -> list[str]:
    """The names of a .mat file's variables.

    Raises:
        AnnotationError: as `read_mat`.
    """
    return [name for name, _shape, _kind in _read(path, "whosmat")]


def _read(path: Path, function: str, **settings: Any) -> Any:
    import_extra("scipy.io", AnnotationError(f"reading {path} needs SciPy; pip install 'mspn[mat]'"))
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
