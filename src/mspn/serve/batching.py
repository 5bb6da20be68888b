"""One worker for all clients: pictures that arrive together share the networks' batches."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus

import numpy as np

from mspn.predict.top_down import PersonCrop, TopDown
from mspn.serve.limits import RequestError
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from mspn.structures.pose import Pose

_MAX_IMAGES = 8
"""Pictures of one batch; more would make the first of them wait longer than they save."""
_GATHER_SECONDS = 0.002
"""For which the first picture of a batch waits for others."""
_MEAN_WEIGHT = 0.1
"""Of the latest batch in the running mean of the seconds that a picture takes."""


@dataclass(frozen=True, eq=False)
class Job:
    """A picture on its way through the networks."""

    image: Image
    threshold: float
    """Lowest score of a detection."""
    max_people: int
    """Those of the highest scores."""
    deadline: float
    """As `time.monotonic` counts; later nobody waits for the answer."""
    poses: "Future[list[Pose]]" = field(default_factory=Future)
    """The answer, best pose first; cancelled if the client left."""

    def is_wanted(self) -> bool:
        """Whether there is time left, and somebody who waits."""
        return not self.poses.cancelled() and time.monotonic() < self.deadline


class Batcher:
    """A queue of pictures, and a thread that runs the networks on those that wait together."""

    def __init__(self, top_down: TopDown, observe: Callable[[int], None] = lambda _images: None) -> None:
        """Make the queue; `start` starts the thread.

        Args:
            top_down: detector and networks, which this thread alone runs.
            observe: called with the number of pictures of each batch.
        """
        self._top_down = top_down
        self._observe = observe
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self.seconds_per_image = 0.0
        """Running mean; 0 before the first batch."""
        self._thread = threading.Thread(target=self._run, name="mspn-networks", daemon=True)

    def start(self) -> None:
        """Run the networks once, so that the first client does not wait for what they prepare, and start the thread."""
        image = Image("", np.zeros((64, 64, 3), np.uint8))
        self._top_down.detector.detect(image)
        self._top_down.estimate([self._top_down.crop(image, Detection(Box(0.0, 0.0, 64.0, 64.0), 1.0))])
        self._thread.start()

    def close(self) -> None:
        """Stop the thread after the batch in work; pictures that still wait are given up."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        for job in self._jobs:
            _fail(
                job, RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "the service stops; try again later", retry_seconds=1)
            )

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def submit(self, job: Job) -> None:
        """Queue a picture; whoever asks bounds how many wait."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def _run(self) -> None:
        while batch := self._take():
            started = time.monotonic()
            self._observe(len(batch))
            try:
                self._predict(batch)
            except Exception as error:  # the thread serves everybody: it goes on with the next batch
                for job in batch:
                    _fail(job, error)
            seconds = (time.monotonic() - started) / len(batch)
            self.seconds_per_image += _MEAN_WEIGHT * (seconds - self.seconds_per_image)

    def _take(self) -> list[Job]:
        """The next pictures, as soon as there are any; none once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed)
            self._changed.wait_for(lambda: len(self._jobs) >= _MAX_IMAGES or self._is_closed, _GATHER_SECONDS)
            if self._is_closed:
                return []
            return [self._jobs.popleft() for _ in range(min(_MAX_IMAGES, len(self._jobs)))]

    def _predict(self, batch: Sequence[Job]) -> None:
        people: dict[Job, list[PersonCrop]] = {}
        for job in batch:
            if not job.is_wanted():
                _fail(job, RequestError(HTTPStatus.GATEWAY_TIMEOUT, "the picture waited too long; try again later"))
                continue
            try:
                people[job] = self._crop_people(job)
            except Exception as error:  # a picture that the detector fails at must not take the others with it
                _fail(job, error)
        people = {job: crops for job, crops in people.items() if job.is_wanted()}
        poses = iter(self._top_down.estimate([crop for crops in people.values() for crop in crops]))
        for job, crops in people.items():
            found = self._top_down.select([next(poses) for _ in crops])
            if job.poses.set_running_or_notify_cancel():
                job.poses.set_result(found)

    def _crop_people(self, job: Job) -> list[PersonCrop]:
        found = self._top_down.detect(job.image, job.threshold)
        best = sorted(found, key=lambda detection: -detection.score)[: job.max_people]
        return [self._top_down.crop(job.image, detection) for detection in best]


def _fail(job: Job, error: Exception) -> None:
    if job.poses.done() or not job.poses.set_running_or_notify_cancel():
        return
    job.poses.set_exception(error)
