"""Files that `torch.save` wrote, from anywhere: no code in them runs, and they take no more memory than they hold."""

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch

from mspn.errors import WeightsError

_MAX_READS = 4_000_000
"""Of parts of pickles, a few a value; training checkpoints of the largest networks take a tenth."""
_ZIP_START = b"PK\x03\x04"
_MAX_DIMENSIONS = 8
_NUM_PICKLES_BEFORE_ZIP = 5
"""In files older than torch 1.6: three about the format, the content, the keys of its storages."""


def read_torch_file(path: Path) -> Any:
    """What a file of `torch.save` holds: tensors, numbers, text and tables of them.

    NumPy's and mmengine's objects come out empty.

    Raises:
        WeightsError: if there is no such file, it is damaged, reading it would run code, or it describes more than it
            holds.
    """
    if not path.is_file():
        raise WeightsError(f"no checkpoint at {path}; check the path")
    with path.open("rb") as file:
        try:
            _check(file, path)
            with torch.serialization.safe_globals(_STAND_INS):
                return torch.load(path, map_location="cpu", weights_only=True)
        except WeightsError:
            raise
        except Exception as error:  # torch and pickle raise many kinds, from UnpicklingError to RuntimeError
            raise WeightsError(f"{path} is damaged, or no checkpoint; get a whole copy of it") from error


class _Stub:
    """Takes the place of an object that is no tensor: whatever it is made from, it holds nothing."""

    def __init__(self, *_state: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


def _stand_in(module: str, name: str) -> type[_Stub]:
    return type(name, (_Stub,), {"__module__": module, "__qualname__": name})


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
_STAND_IN_NAMES = {f"{stub.__module__}.{stub.__qualname__}" for stub in _STAND_INS if isinstance(stub, type)}


def _check(file: IO[bytes], path: Path) -> None:
    """Refuse a file before anything in it is made."""
    file_bytes = path.stat().st_size
    is_zip = file.read(len(_ZIP_START)) == _ZIP_START
    file.seek(0)
    if not is_zip:
        check = _PickleCheck(file, file_bytes, path)
        for _ in range(_NUM_PICKLES_BEFORE_ZIP):
            check.load()
        return
    with zipfile.ZipFile(file) as archive:
        if sum(part.file_size for part in archive.infolist()) > file_bytes:
            raise WeightsError(f"{path} unpacks to more than it holds, which is refused")
        # torch looks for the name whatever its case.
        (name,) = (name for name in archive.namelist() if name.lower().endswith("/data.pkl"))
        _PickleCheck(io.BytesIO(archive.read(name)), file_bytes, path).load()


class _Kind(NamedTuple):
    """Of a storage's numbers."""

    value_bytes: int


class _Storage(NamedTuple):
    """Numbers of a file, which tensors show."""

    num_values: int


class _Made:
    """Stands for what torch would make."""

    __slots__ = ()  # so that no state can be given to it


class _Counted:
    """A file that gives its parts only so many times."""

    def __init__(self, file: IO[bytes], num_bytes: int, path: Path) -> None:
        self._file, self._num_bytes, self._path = file, num_bytes, path
        self._num_reads = 0

    def read(self, size: int) -> bytes:
        self._count()
        if size > self._num_bytes:  # memory is taken for all of it at once
            raise EOFError
        return self._file.read(size)

    def readline(self) -> bytes:
        self._count()
        return self._file.readline()

    def _count(self) -> None:
        self._num_reads += 1
        if self._num_reads > _MAX_READS:
            raise WeightsError(f"{self._path} has more than {_MAX_READS:,} parts; it is no checkpoint of a network")


# The one in Python: that in C takes memory for as many memos as a number in the file says.
class _PickleCheck(pickle._Unpickler):
    """Goes through a pickle as torch will, but makes no tensor, and adds up what torch would make.

    What is made of other parts of the file is made of each part once: the pickle of a sound object has every text and
    every table where it is used first, and then refers to what was made of it. A hostile one makes it again and again.
    """

    # torch knows no frames, and they would bypass the count.
    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.FRAME[0]}  # noqa: RUF012

    def __init__(self, file: IO[bytes], num_bytes: int, path: Path) -> None:
        super().__init__(_Counted(file, num_bytes, path))
        self._num_bytes, self._path = num_bytes, path
        self._storages: dict[str, _Storage] = {}
        self._stored_bytes = self._stored_values = self._shown_values = self._copied = 0
        self._makers: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": self._table,
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": lambda tensor, *_rest: tensor,
            "torch.Size": self._copy,
            "torch.device": self._copy,
            "_codecs.encode": self._bytes,
            "__builtin__.set": self._copy,
            "builtins.set": self._copy,
        }

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if full_name in self._makers:
            return self._makers[full_name]
        if full_name in _STAND_IN_NAMES:
            return _Stub
        if full_name == "torch.storage.UntypedStorage":
            return _Kind(1)
        if module in ("torch", "torch.cuda") and name.endswith("Storage"):
            return _Kind(torch.serialization.StorageType(name).dtype.itemsize)  # type: ignore[no-untyped-call]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return _Made()
        raise WeightsError(f"{self._path} wants to run {full_name} when it is read, which is refused")

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, num_values, *_ = pid
        if not isinstance(kind, _Kind) or not isinstance(num_values, int) or num_values < 0:
            raise pickle.UnpicklingError(f"no storage: {kind} of {num_values}")
        if key not in self._storages:
            self._storages[key] = _Storage(num_values)
            self._stored_values += num_values
            self._stored_bytes += num_values * kind.value_bytes
            if self._stored_bytes > self._num_bytes:
                raise WeightsError(f"{self._path} describes more numbers than it holds; it is damaged or cut short")
        return self._storages[key]

    def _tensor(self, storage: _Storage, _offset: int, size: Sequence[int], *_rest: Any) -> _Made:
        if len(size) > _MAX_DIMENSIONS or not all(isinstance(side, int) and side >= 0 for side in size):
            raise pickle.UnpicklingError("no size of a tensor")
        num_values = math.prod(size)
        self._shown_values += num_values
        # Twice, as a network may have the same numbers under two names.
        if num_values > storage.num_values or self._shown_values > 2 * self._stored_values:
            raise WeightsError(
                f"{self._path} has tensors that show the same numbers again and again, which takes more memory than"
                " it holds; save each tensor with .clone()"
            )
        return _Made()

    def _bytes(self, text: str, encoding: str) -> _Made:
        if encoding != "latin1":  # as pickle writes bytes; others may take very long
            raise pickle.UnpicklingError(f"bytes written as {encoding}")
        return self._copy(text)

    def _table(self, *pairs: Any) -> "_MadeTable":
        self._copy(*pairs)
        return _MadeTable(self._copy)

    def _copy(self, *values: Any) -> _Made:
        self._copied += sum(len(value) for value in values)
        if self._copied > self._num_bytes:
            raise WeightsError(f"{self._path} has the same part again and again, which is refused")
        return _Made()


class _MadeTable(dict[Any, Any]):
    """A table without attributes, which torch keeps."""

    def __init__(self, copy: Callable[..., _Made]) -> None:
        self._copy = copy

    def __setstate__(self, state: Any) -> None:
        self._copy(state)
