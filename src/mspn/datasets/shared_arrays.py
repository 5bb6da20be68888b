"""Arrays that all processes share without a copy each."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor


class SharedArrays:
    """A dataclass whose arrays all processes share.

    A forked process writes a reference count into every Python object that it looks at, and so ends up with a copy
    of a list; an array is one object. A process that is started afresh (spawn, forkserver) gets what is pickled:
    torch moves tensors to shared memory for that, once, where NumPy's arrays would be copied for each process.
    """

    @cached_property
    def _parts(self) -> list[Any]:
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]  # a dataclass is
        return [torch.from_numpy(value) if isinstance(value, np.ndarray) else value for value in values]

    def __reduce__(self) -> tuple[Any, ...]:
        return _assemble, (type(self), self._parts)


def _assemble(kind: type[SharedArrays], parts: Sequence[Any]) -> SharedArrays:
    return kind(*(part.numpy() if isinstance(part, Tensor) else part for part in parts))


@dataclass(frozen=True, eq=False)
class ImagePaths(SharedArrays):
    """Paths of P images in one array; see `SharedArrays` for why this is no list."""

    encoded: UInt8[np.ndarray, " bytes"]
    """All paths one after another, as the file system writes them."""
    ends: Int[np.ndarray, " P"]
    """Where each path ends in `encoded`."""

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "ImagePaths":
        """Flatten a list of paths."""
        encoded = [os.fsencode(path) for path in paths]
        ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)
        return cls(np.frombuffer(bytearray(b"".join(encoded)), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Path:
        start = self.ends[index - 1] if index else 0
        return Path(os.fsdecode(self.encoded[start : self.ends[index]].tobytes()))

    def __iter__(self) -> Iterator[Path]:
        return (self[index] for index in range(len(self)))
