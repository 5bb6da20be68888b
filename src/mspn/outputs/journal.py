"""The resume log: what a run has done so far, kept beside its results, so that it can be resumed."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mspn.errors import FileError, InvalidValueError
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box
from mspn.structures.image import Image
from mspn.structures.pose import Pose
from mspn.structures.skeleton import Skeleton

JOURNAL_FILE = "progress.jsonl"
_SETTINGS = "settings"

Key = tuple[str, int | None]
"""Source, and frame of a video."""


class Journal:
    """`progress.jsonl`: the settings of a run, then a line for each image that is done, with every digit.

    Results that are read back equal those that were written, to the last digit. Images with problems are not logged, so
    that they are tried again; nor are frames of cameras.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], skeleton: Skeleton, *, resume: bool) -> None:
        """Start a journal, or resume the existing one.

        Args:
            folder: of the results.
            settings: what results depend on, as values that JSON has.
            skeleton: of the poses.
            resume: keep the existing entries, except a line that was cut short.

        Raises:
            ValueError: if the existing journal has other settings, or the file is not a journal.
            OSError: if it cannot be written.
        """
        self.path = folder / JOURNAL_FILE
        self._skeleton = skeleton
        self._offsets: dict[Key, int] = {}
        """Byte offsets of the images of earlier runs. Images of this run are not looked up, so that results of an image
        that is named twice do not depend on timing."""
        self._appended: set[Key] = set()
        end = self._read_offsets(settings) if resume and self.path.is_file() else 0
        # Unbuffered: each entry is in the file at once, and a full disk is noticed at once.
        self._file = self.path.open("r+b" if end else "wb", buffering=0)
        self._file.truncate(end)
        self._file.seek(end)
        if not end:
            self._write({_SETTINGS: dict(settings)})

    @property
    def num_done_before(self) -> int:
        """Images that earlier runs did."""
        return len(self._offsets)

    def lookup(self, image: Image) -> list[Pose] | None:
        """The poses of an image that is done, else None."""
        entry = self._find(_key(image))
        return None if entry is None else [_read_pose(pose, self._skeleton) for pose in entry["poses"]]

    def cached_image(self, source: str) -> Image | None:
        """A black image in place of a finished one, so that its file need not be read; None for frames of videos."""
        entry = self._find((source, None))
        if entry is None:
            return None
        return Image(source, np.broadcast_to(np.uint8(0), (entry["height"], entry["width"], 3)))

    def append(self, result: ImageResult) -> None:
        """Add an image that is done, unless the journal has it already.

        Raises:
            OSError: if it cannot be written.
        """
        image = result.image
        if image is None or result.problems or (image.frame and image.frame.video.is_live):
            return
        key = _key(image)
        if key not in self._offsets and key not in self._appended:
            source, frame = key
            size = {"width": image.size.width, "height": image.size.height}
            self._write(
                {"source": source, "frame": frame, **size, "poses": [_write_pose(pose) for pose in result.poses]}
            )
            self._appended.add(key)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def _find(self, key: Key) -> dict[str, Any] | None:
        if key not in self._offsets:
            return None
        with self.path.open("rb") as file:  # opened each time, since two threads look up
            file.seek(self._offsets[key])
            entry: dict[str, Any] = json.loads(file.readline())
        return entry

    def _read_offsets(self, settings: Mapping[str, Any]) -> int:
        """Store the offset of each image, and return the end of the last whole line."""
        with self.path.open("rb") as file:
            first = file.readline()
            if not first.endswith(b"\n"):  # cut short at the very start
                return 0
            self._check_settings(first, settings)
            end = file.tell()
            for line in file:
                try:
                    entry = json.loads(line)
                    self._offsets[entry["source"], entry["frame"]] = end
                except (ValueError, KeyError, TypeError):
                    break
                end += len(line)
        return end

    def _check_settings(self, line: bytes, settings: Mapping[str, Any]) -> None:
        try:
            previous = json.loads(line)[_SETTINGS]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidValueError(
                f"{self.path} does not say what was done; move it away, or choose another --out"
            ) from error
        changed = [name for name in {**previous, **settings} if previous.get(name) != settings.get(name)]
        if changed:
            before = ", ".join(f"{name} {json.dumps(previous.get(name))}" for name in changed)
            after = ", ".join(f"{name} {json.dumps(settings.get(name))}" for name in changed)
            raise InvalidValueError(
                f"{self.path.parent} holds results of {before}, not of {after}; --resume goes on with the same alone:"
                " choose another --out, or start anew without --resume"
            )

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        try:
            is_whole = self._file.write(line) == len(line)
        except OSError as error:
            raise FileError(f"could not write {self.path} ({error.strerror}); is there room on the disk?") from error
        if not is_whole:
            raise FileError(f"could not write {self.path} (no room for a whole line); is there room on the disk?")


def _key(image: Image) -> Key:
    return image.source, image.frame.index if image.frame else None


def _write_pose(pose: Pose) -> dict[str, Any]:
    return {
        "keypoints": pose.keypoints_image.tolist(),
        "scores": pose.keypoint_scores.tolist(),
        "score": pose.score,
        "ranking_score": pose.ranking_score,
        "box": list(pose.box),
        "box_score": pose.box_score,
    }


def _read_pose(entry: Mapping[str, Any], skeleton: Skeleton) -> Pose:
    return Pose(
        skeleton=skeleton,
        keypoints_image=np.array(entry["keypoints"]),
        keypoint_scores=np.array(entry["scores"]),
        score=entry["score"],
        ranking_score=entry["ranking_score"],
        box=Box(*entry["box"]),
        box_score=entry["box_score"],
    )
