"""The resume log: what a run has done so far, kept beside its results, so that it can be resumed."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from pydantic import BaseModel, Field

from mspn.errors import FileError, InvalidValueError
from mspn.io.files import sha256_of
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box, Size
from mspn.structures.image import FrameInfo, Image, Video
from mspn.structures.pose import Pose
from mspn.structures.skeleton import Skeleton

logger = logging.getLogger(__name__)

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
    colors: tuple[tuple[_Number, _Number, _Number] | None, tuple[_Number, _Number, _Number] | None] = (None, None)


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
        "colors": (None, None)
        if pose.colors is None
        else [None if np.isnan(color).any() else color.tolist() for color in pose.colors],
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
        colors=np.array([(np.nan,) * 3 if color is None else color for color in entry.colors]),
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


JOURNAL_FILE = "progress.jsonl"
_OUTPUTS, _SKELETON = "outputs", "skeleton"


@dataclass
class _Done:
    """What earlier runs did of one source."""

    version: str | None
    """Of its file, see `version_of`."""
    offsets: dict[int | None, int] = field(default_factory=dict)
    """Byte offsets of the entries of its frames, or of the image, whose frame is None."""


class Journal:
    """`progress.jsonl`: the settings of a run, then a line for each image that is done, with every digit.

    Results that are read back equal those that were written, to the last digit. Images with problems are not logged, so
    that they are tried again; nor are frames of cameras. What was done of a file that has changed since does not count.

    Attributes:
        outputs: names of all writers whose files are in the folder, or will be.
        source_folder: what names of files are relative to, as the first of the runs had it.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        skeleton: Skeleton,
        *,
        resume: bool,
        outputs: Sequence[str] = (),
        source_folder: Path = Path(),
    ) -> None:
        """Start a journal, or resume the existing one.

        Args:
            folder: of the results.
            settings: what results depend on, as values that JSON has; files by their digests.
            skeleton: of the poses.
            resume: keep the existing entries, except a line that was cut short.
            outputs: names of the writers of this run.
            source_folder: what names of files are relative to.

        Raises:
            ValueError: if the existing journal has other settings, or the file is not a journal.
            OSError: if it cannot be written.
        """
        self.path = folder / JOURNAL_FILE
        self._skeleton = skeleton
        earlier = JournalReader(folder) if resume and self.path.is_file() else None
        settings = {**settings, _SKELETON: skeleton.model_dump(mode="json")}
        self._done: dict[str, _Done] = {}
        """By source. Images of this run are not looked up, so that results of an image that is named twice do not
        depend on timing."""
        self._versions: dict[str, str | None] = {}
        self._numbers: dict[str, int] = {}
        self._appended: set[tuple[str, int | None]] = set()
        self.outputs, self.source_folder, end = tuple(outputs), source_folder, 0
        if earlier is not None and earlier.end:
            check_settings(folder, earlier.settings, settings)
            self._done, end = earlier.done, earlier.end
            self.source_folder = earlier.source_folder
            self.outputs = (*outputs, *(name for name in earlier.outputs if name not in outputs))
        # Unbuffered: each entry is in the file at once, and a full disk is noticed at once.
        self._file = self.path.open("r+b" if end else "wb", buffering=0)
        self._file.truncate(end)
        self._file.seek(end)
        if not end:
            self._write({"settings": settings, "source_folder": str(source_folder), _OUTPUTS: list(outputs)})
        elif earlier is not None and set(self.outputs) - set(earlier.outputs):
            self._write({_OUTPUTS: list(self.outputs)})

    @property
    def num_done_before(self) -> int:
        """Images that earlier runs did."""
        return sum(len(done.offsets) for done in self._done.values())

    def begin_source(self, source: str, number: int) -> None:
        """Look at the file of a source before it is read: if it has changed, what was done of it does not count.

        Args:
            source: its name in results.
            number: its place in the whole run, from 0 on, also in a run that is one of several shards.
        """
        self.note_source(source, number, version_of(source))

    def note_source(self, source: str, number: int, version: str | None) -> None:
        """Say what the entries of a source's images will tell of its place and its file."""
        self._numbers.setdefault(source, number)
        self._versions[source] = version
        if source in self._done and self._done[source].version != version:
            del self._done[source]
            logger.info("%s has changed since it was done, and is done anew", source)

    def lookup(self, image: Image) -> list[Pose] | None:
        """The poses of an image that is done, else None."""
        source, frame = _key(image)
        entry = self._find(source, frame)
        return None if entry is None else [read_pose(pose, self._skeleton) for pose in entry.poses]

    def cached_image(self, source: str) -> Image | None:
        """A black image in place of a finished one, so that its file need not be read; None for frames of videos."""
        entry = self._find(source, None)
        return None if entry is None else black_image(source, Size(entry.height, entry.width))

    def append(self, result: ImageResult) -> None:
        """Add an image that is done, unless the journal has it already.

        Raises:
            OSError: if it cannot be written.
        """
        image = result.image
        if image is None or result.problems or (image.frame and image.frame.video.is_live):
            return
        source, frame = _key(image)
        is_done = source in self._done and frame in self._done[source].offsets
        if not is_done and (source, frame) not in self._appended:
            self._write(
                {
                    SOURCE: source,
                    "number": self._numbers.get(source, 0),
                    "version": self._versions.get(source),
                    "frame": frame,
                    "seconds": image.frame and image.frame.seconds,
                    "width": image.size.width,
                    "height": image.size.height,
                    "poses": [write_pose(pose) for pose in result.poses],
                }
            )
            self._appended.add((source, frame))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def _find(self, source: str, frame: int | None) -> ImageEntry | None:
        done = self._done.get(source)
        if done is None or frame not in done.offsets:
            return None
        with self.path.open("rb") as file:  # opened each time, since two threads look up
            return read_entry(file, done.offsets[frame])

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        try:
            is_whole = self._file.write(line) == len(line)
        except OSError as error:
            raise FileError(f"could not write {self.path} ({error.strerror}); is there room on the disk?") from error
        if not is_whole:
            raise FileError(f"could not write {self.path} (no room for a whole line); is there room on the disk?")


class JournalReader:
    """What a journal holds: settings, outputs, and where the entries of its images are.

    Attributes:
        settings: of the run.
        skeleton: of its poses.
        outputs: names of its writers.
        source_folder: what names of files are relative to.
        done: what was done of each source.
        end: of the last whole line, in bytes; 0 if there is none.
    """

    def __init__(self, folder: Path) -> None:
        """Read the journal of a folder.

        Raises:
            ValueError: if the file is not a journal.
            OSError: if there is none, or it cannot be read.
        """
        self.path = folder / JOURNAL_FILE
        self.settings: dict[str, Any] = {}
        self.outputs: tuple[str, ...] = ()
        self.source_folder = Path()
        self.done: dict[str, _Done] = {}
        self.end = 0
        self._numbers: dict[str, int] = {}
        with self.path.open("rb") as file:
            first = file.readline()
            if first.endswith(b"\n"):  # else cut short at the very start
                self._read_head(first)
                self.end = len(first)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read_line(line)
                    self.end += len(line)

    def number_of(self, source: str) -> int:
        """The place of a source in the whole run."""
        return self._numbers[source]

    def results(self) -> Iterator[ImageResult]:
        """Each image, black, with its poses, in the order of their sources in the run."""
        for source in sorted(self.done, key=self._numbers.__getitem__):
            yield from self.results_of(source)

    def results_of(self, source: str) -> Iterator[ImageResult]:
        """The image, or each frame of the video, black, with its poses."""
        video: Video | None = None
        offsets = self.done[source].offsets
        with self.path.open("rb") as file:
            for frame in sorted(offsets, key=lambda frame: frame or 0):
                entry = read_entry(file, offsets[frame])
                size = Size(entry.height, entry.width)
                video = video or Video(source, size, None, None, is_live=False)
                position = None if frame is None else FrameInfo(video, frame, entry.seconds or 0.0)
                poses = [read_pose(pose, self.skeleton) for pose in entry.poses]
                yield ImageResult(source, black_image(source, size, position), poses, [])

    def _read_head(self, line: bytes) -> None:
        head, self.skeleton = _parse_head(self.path, line)
        self.settings, self.outputs = head.settings, head.outputs
        self.source_folder = Path(head.source_folder)

    def _read_line(self, line: bytes) -> None:
        """Note what a line says; an image whose line is damaged counts as not done."""
        try:
            content = json.loads(line)
            if _OUTPUTS in content:
                self.outputs = tuple(map(str, content[_OUTPUTS]))
                return
            entry, source = parse_entry(content), content[SOURCE]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return
        num_keypoints = len(self.skeleton.keypoints)
        if not isinstance(source, str) or any(
            len(pose.keypoints) != num_keypoints or len(pose.scores) != num_keypoints for pose in entry.poses
        ):
            return
        if source not in self.done or self.done[source].version != entry.version:
            self.done[source] = _Done(entry.version)
        self.done[source].offsets[entry.frame] = self.end
        self._numbers[source] = entry.number


def read_outputs(folder: Path) -> tuple[str, ...]:
    """Names of the writers of the run that a folder's journal tells of, from its first line; none without a journal.

    Raises:
        ValueError: if the file is not a journal.
    """
    path = folder / JOURNAL_FILE
    if not path.is_file():
        return ()
    with path.open("rb") as file:
        first = file.readline()
    return _parse_head(path, first)[0].outputs if first.endswith(b"\n") else ()


def _parse_head(path: Path, line: bytes) -> tuple[Head, Skeleton]:
    try:
        head = Head.model_validate(json.loads(line))
        return head, Skeleton.model_validate(head.settings[_SKELETON])
    except (ValueError, KeyError, RecursionError) as error:
        raise InvalidValueError(f"{path} does not say what was done; move it away, or choose another --out") from error


def has_images(folder: Path) -> bool:
    """Whether the journal of a folder has any image."""
    with (folder / JOURNAL_FILE).open("rb") as file:
        return any(line.startswith(b'{"source"') for line in file)


def _key(image: Image) -> tuple[str, int | None]:
    """Source, and frame of a video."""
    return image.source, image.frame.index if image.frame else None
