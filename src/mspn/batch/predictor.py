"""What an actor does: it reads a task's files and estimates the poses of their images, whose people share batches.

Files are local ones, web addresses, those of file systems far away, and members of tars.
"""

import hashlib
import os
import pickle
import posixpath
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import ray
import torch
from pydantic import Field
from ray import cloudpickle

from mspn.batch.listing import TAR_SUFFIXES, ListedFile, read_task
from mspn.batch.monitor import Reporter
from mspn.batch.table import describe_image, make_table
from mspn.errors import FileError, ImageError, WeightsError, reason
from mspn.inference.devices import keep_freed_memory
from mspn.io.images import IMAGE_SUFFIXES, MAX_FILE_BYTES, decode_image
from mspn.io.limits import DEFAULTS, InputLimits, scheme_of
from mspn.io.storage import Storage, explained
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import predict_images
from mspn.sources import failures_told, open_source, read_open_file
from mspn.structures.image import Image, SourceFailure
from mspn.structures.settings import Settings


class ReadSettings(Settings):
    """How actors read files, and what they do in videos."""

    limits: InputLimits = DEFAULTS
    folder: Path = Field(default_factory=Path.cwd)
    """What relative paths are relative to."""
    detect_every: int = Field(1, ge=1)
    """Run the detector on every Nth frame of a video."""
    track: bool = True
    """Give the people of videos ids."""


@dataclass(frozen=True)
class PackedEstimator:
    """An estimator in Ray's object store, from which each node takes it once: actors need no file of weights."""

    reference: Any
    """Of its bytes."""
    digest: str
    """SHA-256 of the bytes."""

    @classmethod
    def pack(cls, estimator: PoseEstimator) -> "PackedEstimator":
        """Put an estimator into the store of the cluster that this process is connected to."""
        packed = cloudpickle.dumps(estimator)  # with detectors that a script defines
        return cls(ray.put(packed), hashlib.sha256(packed).hexdigest())

    def unpack(self) -> PoseEstimator:
        """Make the estimator anew in this process.

        Raises:
            WeightsError: if other bytes have arrived.
        """
        packed = ray.get(self.reference)
        if hashlib.sha256(packed).hexdigest() != self.digest:
            raise WeightsError("the weights that have come to an actor are not those that were sent; start again")
        estimator = pickle.loads(packed)
        assert isinstance(estimator, PoseEstimator)
        return estimator


class Predictor:
    """Holds the networks and estimates the poses of one task after another."""

    def __init__(
        self,
        packed: PackedEstimator,
        settings: ReadSettings,
        file_systems: Sequence[Any],
        num_threads: int,
        monitor: Any,
    ) -> None:
        """Load the networks.

        Args:
            packed: the estimator.
            settings: how to read.
            file_systems: as `Listing.file_systems`.
            num_threads: that torch may use.
            monitor: handle of the `Monitor` that is told of all that happens.

        Raises:
            ValueError: if the estimator cannot be made here, for example for a device that is not there.
        """
        keep_freed_memory()
        torch.set_num_threads(num_threads)
        if settings.folder.is_dir():
            os.chdir(settings.folder)
        self._settings = settings
        self._file_systems = file_systems
        self._top_down = packed.unpack().top_down
        self._reporter = Reporter(monitor)

    def __call__(self, task: pa.Table) -> pa.Table:
        """The rows of a task's images, in order."""
        rows = []
        names: deque[tuple[str, str | None]] = deque()
        predicted = predict_images(
            self._top_down,
            self._read(read_task(task), names),
            detect_every=self._settings.detect_every,
            track=self._settings.track,
            keep_pixels=False,
        )
        with closing(predicted):
            for result in predicted:
                self._reporter.count(result)
                rows.append(describe_image(*names.popleft(), result))
        self._reporter.end_task()
        return make_table(rows)

    def _read(
        self, files: Iterable[ListedFile], names: deque[tuple[str, str | None]]
    ) -> Iterator[Image | SourceFailure]:
        """The images of files; what rows call each is added to `names`."""
        for file, read in read_files(list(files), self._file_systems, self._settings.limits):
            if read is None:
                self._reporter.begin_file(file.name)
            else:
                member, image = read
                names.append((file.name, member))
                yield image


_FILES_AHEAD = 8
"""Of a file system far away, which are fetched while others are predicted: each takes some time to answer."""
_MAX_BYTES_IN_MEMORY = 2**23
"""Of a fetched file; larger ones wait on the disk."""

ReadImage = tuple[str | None, Image | SourceFailure]
"""With the name of the member of a tar; None for an image that is a file, and for frames."""


def read_files(
    files: Sequence[ListedFile], file_systems: Sequence[Any], limits: InputLimits
) -> Iterator[tuple[ListedFile, ReadImage | None]]:
    """Each file, first without an image, when it is opened, and then with each of its images.

    Args:
        files: of a task.
        file_systems: as `Listing.file_systems`.
        limits: what may be read.
    """
    with ThreadPoolExecutor(_FILES_AHEAD, "mspn-fetch") as threads:
        fetched: deque[Future[IO[bytes]] | None] = deque()
        waiting = iter(files)
        for file in files:
            while len(fetched) < _FILES_AHEAD and (following := next(waiting, None)) is not None:
                fetched.append(
                    None
                    if following.files is None
                    else threads.submit(_fetch, following, file_systems[following.files])
                )
            yield file, None
            for image in _read(file, fetched.popleft(), limits):
                yield file, image


def _fetch(file: ListedFile, files: Any) -> IO[bytes]:
    assert file.path is not None
    with ExitStack() as on_failure:
        copy = on_failure.enter_context(tempfile.SpooledTemporaryFile(_MAX_BYTES_IN_MEMORY))
        with explained(file.name):
            Storage(file.name, files, file.path).copy_to(copy)
        on_failure.pop_all()  # who reads it closes it
    return copy


def _read(file: ListedFile, fetched: Future[IO[bytes]] | None, limits: InputLimits) -> Iterator[ReadImage]:
    if file.path is None:
        yield None, SourceFailure(file.name, file.problem or "")
        return
    is_tar = file.name.lower().endswith(TAR_SUFFIXES)
    if fetched is None and not is_tar:
        source = file.path if scheme_of(file.path) else Path(file.path)
        yield from ((None, image) for image in open_source(source, limits))
        return
    try:
        with explained(file.name):
            opened: IO[bytes] = fetched.result() if fetched else Path(file.path).open("rb")  # noqa: SIM115 (below)
    except FileError as error:
        yield None, SourceFailure(file.name, str(error))
        return
    with opened:
        if is_tar:
            yield from _read_tar(opened, file.name, limits)
        else:
            images = read_open_file(opened, file.name, posixpath.splitext(file.name)[1], limits)
            yield from ((None, image) for image in failures_told(images, file.name))


def _read_tar(opened: IO[bytes], name: str, limits: InputLimits) -> Iterator[ReadImage]:
    """The images of a tar, such as those of WebDataset, as they come; other members are left out."""
    try:
        with tarfile.open(fileobj=opened, mode="r|*") as tar:
            for member in tar:
                if member.isfile() and posixpath.splitext(member.name)[1].lower() in IMAGE_SUFFIXES:
                    yield member.name, _read_member(tar, member, name, limits)
    except (tarfile.TarError, OSError, EOFError) as error:
        yield None, SourceFailure(name, f"{name} is no tar, or cut short ({reason(error)}); copy it again")


def _read_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, limits: InputLimits
) -> Image | SourceFailure:
    shown = f"{name}/{member.name}"
    if member.size > MAX_FILE_BYTES:
        return SourceFailure(shown, f"{shown} is larger than {MAX_FILE_BYTES // 2**20} MiB; make it smaller first")
    content = tar.extractfile(member)
    assert content is not None  # it is a file
    try:
        return Image(shown, decode_image(content.read(), shown, limits.max_pixels, stretch=limits.stretch))
    except ImageError as error:
        return SourceFailure(shown, str(error))
