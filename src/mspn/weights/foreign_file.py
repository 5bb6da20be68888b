"""Opening checkpoint files of others without running what may be in them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mspn.weights.checkpoint import WeightsError


class _LeftOut:
    """Takes the place of an object that is no tensor: whatever it is made from, it holds nothing."""

    def __init__(self, *_state: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


def _stand_in(module: str, name: str) -> type[_LeftOut]:
    return type(name, (_LeftOut,), {"__module__": module, "__qualname__": name})


# MMPose keeps its data set's tables beside the tensors as NumPy arrays, and mmengine the curves of training.
_STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *(
        _stand_in(f"numpy.{core}.multiarray", function)
        for core in ("core", "_core")
        for function in ("_reconstruct", "scalar")
    ),
    _stand_in("numpy", "ndarray"),
    _stand_in("numpy", "dtype"),
    _stand_in("mmengine.logging.history_buffer", "HistoryBuffer"),
]


def read_foreign_file(path: Path) -> Any:
    """What a .pth file holds: tensors, numbers, text and tables of them; NumPy's and mmengine's objects come out empty.

    Raises:
        WeightsError: if there is no such file, or reading it would run code from it.
    """
    if not path.is_file():
        raise WeightsError(f"no checkpoint at {path}; check the path")
    try:
        with torch.serialization.safe_globals(_STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, from UnpicklingError to RuntimeError
        if blocked := re.search(r"GLOBAL (\S+)", str(error)):
            raise WeightsError(f"{path} wants to run {blocked[1]} when it is read, which is refused") from error
        raise WeightsError(f"{path} is no checkpoint, or is damaged; get it from its source again") from error
