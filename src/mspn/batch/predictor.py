"""What an actor does: poses of the images of a task, whose people share batches."""

import hashlib
import os
import pickle
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import torch
from pydantic import Field
from ray import cloudpickle

from mspn.batch.listing import ListedFile, read_task
from mspn.batch.monitor import Reporter
from mspn.batch.reading import read_files
from mspn.batch.table import describe_image, make_table
from mspn.errors import WeightsError
from mspn.inference.devices import keep_freed_memory
from mspn.io.limits import DEFAULTS, InputLimits
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import predict_images
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
