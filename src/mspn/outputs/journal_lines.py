"""The lines of the resume log: the first one, those of images with their poses, and versions of source files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import BaseModel, Field

from mspn.errors import InvalidValueError
from mspn.io.files import sha256_of
from mspn.structures.boxes import Box, Size
from mspn.structures.image import FrameInfo, Image
from mspn.structures.pose import Pose
from mspn.structures.skeleton import Skeleton

SOURCE = "source"
_MAX_LETTERS = 100
_MAX_DIGESTED_BYTES = 2**24
"""Of larger files, mostly videos, size and modification time must do: reading them takes as long as decoding them."""

_Number = int | float
"""As it is written; pydantic would make floats of all."""


class PoseEntry(BaseModel):
    keypoints: tuple[tuple[_Number, _Number], ...]
    scores: tuple[_Number, ...]
    score: _Number
    ranking_score: _Number
    box: tuple[_Number, _Number, _Number, _Number]
    box_score: _Number
    track_id: int | None = None


class ImageEntry(BaseModel):
    """A line of the journal, without the source, whose name may hold bytes that are no text."""

    number: int
    version: str | None
    frame: int | None
    seconds: float | None
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    poses: tuple[PoseEntry, ...]


class Head(BaseModel):
    """The first line."""

    settings: dict[str, Any]
    source_folder: str
    outputs: tuple[str, ...]


def read_entry(file: BinaryIO, offset: int) -> ImageEntry:
    file.seek(offset)
    return parse_entry(json.loads(file.readline()))


def parse_entry(content: Mapping[str, Any]) -> ImageEntry:
    return ImageEntry.model_validate({name: value for name, value in content.items() if name != SOURCE})


def write_pose(pose: Pose) -> dict[str, Any]:
    return {
        "keypoints": pose.keypoints_image.tolist(),
        "scores": pose.keypoint_scores.tolist(),
        "score": pose.score,
        "ranking_score": pose.ranking_score,
        "box": list(pose.box),
        "box_score": pose.box_score,
        "track_id": pose.track_id,
    }


def read_pose(entry: PoseEntry, skeleton: Skeleton) -> Pose:
    return Pose(
        skeleton=skeleton,
        keypoints_image=np.array(entry.keypoints),
        keypoint_scores=np.array(entry.scores),
        score=entry.score,
        ranking_score=entry.ranking_score,
        box=Box(*entry.box),
        box_score=entry.box_score,
        track_id=entry.track_id,
    )


def black_image(source: str, size: Size, frame: FrameInfo | None = None) -> Image:
    """In place of an image that is done: its pixels are not needed again."""
    return Image(source, np.broadcast_to(np.uint8(0), (*size, 3)), frame)


def check_settings(folder: Path | str, previous: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to go on with results of other settings.

    Raises:
        ValueError: naming those that differ.
    """
    changed = [name for name in {**previous, **settings} if previous.get(name) != settings.get(name)]
    if changed:
        before = ", ".join(f"{name} {_shorten(previous.get(name))}" for name in changed)
        after = ", ".join(f"{name} {_shorten(settings.get(name))}" for name in changed)
        raise InvalidValueError(
            f"{folder} holds results of {before}, not of {after}; --resume goes on with the same alone:"
            " choose another --out, or start anew with --overwrite"
        )


def _shorten(value: Any) -> str:
    """A setting as JSON for messages, of bounded length."""
    text = json.dumps(value)
    return text if len(text) <= _MAX_LETTERS else text[:_MAX_LETTERS] + "..."


def version_of(source: str) -> str | None:
    """What changes if a file does: its digest, or size and modification time; None for what is no file."""
    path = Path(source)
    try:
        if not path.is_file():
            return None
        status = path.stat()
        if status.st_size <= _MAX_DIGESTED_BYTES:
            return sha256_of(path)
        return f"{status.st_size} bytes, modified {status.st_mtime_ns} ns"
    except OSError:
        return None  # reading it will say why
