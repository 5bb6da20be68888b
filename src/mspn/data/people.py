"""Labelled people of one or several data sets, as flat arrays."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
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
class PicturePaths(SharedArrays):
    """Paths of P pictures in one array; see `SharedArrays` for why this is no list."""

    encoded: UInt8[np.ndarray, " bytes"]
    """All paths one after another, as the file system writes them."""
    ends: Int[np.ndarray, " P"]
    """Where each path ends in `encoded`."""

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "PicturePaths":
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


@dataclass(frozen=True, eq=False)
class People(SharedArrays):
    """N labelled people; K keypoints of one skeleton."""

    pictures: PicturePaths
    picture_index: Int[np.ndarray, " N"]
    """Which picture shows the person."""
    image_ids: Int[np.ndarray, " N"]
    annotation_ids: Int[np.ndarray, " N"]
    boxes: Float[np.ndarray, "N 4"]
    """Left, top, width, height in image pixels."""
    keypoints_image: Float[np.ndarray, "N K 3"]
    """(x, y) in image pixels, and visibility: 0 unlabelled, 1 occluded, 2 visible."""
    counted: Bool[np.ndarray, "N K"]
    """False where the data set says nothing about a keypoint."""

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, chosen: Int[np.ndarray, " M"] | Bool[np.ndarray, " N"]) -> "People":
        """Only the people at these positions."""
        return replace(
            self,
            picture_index=self.picture_index[chosen],
            image_ids=self.image_ids[chosen],
            annotation_ids=self.annotation_ids[chosen],
            boxes=self.boxes[chosen],
            keypoints_image=self.keypoints_image[chosen],
            counted=self.counted[chosen],
        )


def merge(sets: Sequence[People]) -> People:
    """Several sets one after another."""
    offsets = np.cumsum([0] + [len(people.pictures) for people in sets[:-1]])
    return People(
        pictures=PicturePaths.of(picture for people in sets for picture in people.pictures),
        picture_index=np.concatenate(
            [people.picture_index + offset for people, offset in zip(sets, offsets, strict=True)]
        ),
        image_ids=np.concatenate([people.image_ids for people in sets]),
        annotation_ids=np.concatenate([people.annotation_ids for people in sets]),
        boxes=np.concatenate([people.boxes for people in sets]),
        keypoints_image=np.concatenate([people.keypoints_image for people in sets]),
        counted=np.concatenate([people.counted for people in sets]),
    )
