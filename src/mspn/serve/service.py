"""From images to answers: admitted, decoded in threads, run through the networks by one worker for all clients.

Images that arrive together share the networks' batches.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import numpy as np
import torch

from mspn.predict.ensemble import PersonCrop
from mspn.predict.estimator import PoseEstimator
from mspn.predict.top_down import TopDown
from mspn.serve.answers import HeatmapPainter, PeopleOptions
from mspn.serve.limits import RequestError, ServeLimits, Upload, decode_upload
from mspn.serve.observability import Metrics
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from mspn.structures.pose import Pose

Answer = TypeVar("Answer")

_MAX_DECODED = 16
"""Images in memory as pixels: those of the batch in work, and of the next."""
_NUM_THREADS = 2
"""That decode, draw and encode; each may take 12 bytes a pixel."""


class Service:
    """The networks of one process, and what waits for them."""

    def __init__(self, model: str, estimator: PoseEstimator, limits: ServeLimits, metrics: Metrics) -> None:
        self.model = model
        self.estimator = estimator
        self.limits = limits
        self.metrics = metrics
        self._batcher = Batcher(estimator.top_down, metrics.batch_images.observe)
        self._threads = ThreadPoolExecutor(_NUM_THREADS, "mspn-images")
        self._slots = asyncio.Semaphore(_MAX_DECODED)
        self._num_waiting = 0
        self._painter: HeatmapPainter | None = None

    def start(self) -> None:
        """Warm up, and begin to take images."""
        self._batcher.start()

    def close(self) -> None:
        """Give up what still waits."""
        self._batcher.close()
        self._threads.shutdown(cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        """Whether images are taken."""
        return self._batcher.is_running

    def threshold(self, options: PeopleOptions) -> float:
        """The lowest score of a detection: a client's, or else the service's own."""
        return self.estimator.top_down.threshold if options.threshold is None else options.threshold

    async def answer(
        self, uploads: Sequence[Upload], options: PeopleOptions, finish: Callable[[Image, list[Pose]], Answer]
    ) -> list[Answer]:
        """Find the poses in the images of one request, and make something of each.

        Args:
            uploads: all of them are taken, or none.
            options: which people count.
            finish: called in a thread with an image and its poses, best first.

        Raises:
            RequestError: if too many images wait already, one cannot be decoded, or the time is over.
        """
        self._admit(len(uploads))
        deadline = time.monotonic() + self.limits.answer_seconds
        tasks = [asyncio.ensure_future(self._answer(upload, options, finish, deadline)) for upload in uploads]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            self._admit(-len(uploads))

    def paint_heatmaps(self, image: Image, pose: Pose) -> dict[str, Any]:
        """The heat maps of all stages and levels, see `HeatmapPainter`; the first call loads the network."""
        painter = self._painter = self._painter or HeatmapPainter(self.model)
        return painter.paint(image, pose)

    def _admit(self, count: int) -> None:
        if count > 0 and self._num_waiting + count > self.limits.max_waiting:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self._num_waiting} images wait already; try again later",
                retry_seconds=self._num_waiting * self._batcher.seconds_per_image,
            )
        self._num_waiting += count
        self.metrics.waiting.inc(count)

    async def _answer(
        self,
        upload: Upload,
        options: PeopleOptions,
        finish: Callable[[Image, list[Pose]], Answer],
        deadline: float,
    ) -> Answer:
        async with self._slots:
            pixels = await self._run(decode_upload, upload.encoded, self.limits.max_pixels)
            image = Image(upload.name, pixels)
            max_people = min(options.max_people or self.limits.max_people, self.limits.max_people)
            job = Job(image, self.threshold(options), max_people, deadline)
            self._batcher.submit(job)
            try:
                poses = await asyncio.wrap_future(job.poses)
            except asyncio.CancelledError:
                self._batcher.discard(job)
                raise
            self.metrics.people.inc(len(poses))
            return await self._run(finish, image, poses)

    async def _run(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))


def limit_threads(num_workers: int) -> None:
    """Let this process use its share of the cores, of several that serve side by side."""
    if num_workers > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // num_workers))


async def wait_for_answer(answer: Awaitable[Answer], left: Awaitable[object], seconds: float) -> Answer:
    """Wait until there is an answer, the client has left, or the time is over; then stop the work for it.

    Args:
        answer: to come.
        left: done when the client has left.
        seconds: to wait at most.

    Raises:
        RequestError: if there is no answer in time, or nobody who waits for it.
    """
    working, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(left)
    try:
        await asyncio.wait({working, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if leaving.done():
            raise RequestError(HTTPStatus.BAD_REQUEST, "the client has left")
        raise RequestError(
            HTTPStatus.GATEWAY_TIMEOUT, f"there was no answer within {seconds:g} s; try again later", retry_seconds=1
        )
    finally:
        working.cancel()
        leaving.cancel()


_MAX_IMAGES = 8
"""Images of one batch; more would make the first of them wait longer than they save."""
_GATHER_SECONDS = 0.002
"""For which the first image of a batch waits for others."""
_MEAN_WEIGHT = 0.1
"""Of the latest batch in the running mean of the seconds that an image takes."""


@dataclass(frozen=True, eq=False)
class Job:
    """An image on its way through the networks."""

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
    """A queue of images, and a thread that runs the networks on those that wait together."""

    def __init__(self, top_down: TopDown, observe: Callable[[int], None] = lambda _images: None) -> None:
        """Make the queue; `start` starts the thread.

        Args:
            top_down: detector and networks, which this thread alone runs.
            observe: called with the number of images of each batch.
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
        """Stop the thread after the batch in work; images that still wait are given up."""
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
        """Queue an image; whoever asks bounds how many wait."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def discard(self, job: Job) -> None:
        """Take an image that nobody waits for out of the queue, if it is still there."""
        with self._changed, suppress(ValueError):
            self._jobs.remove(job)

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
        """The next images, as soon as there are any; none once the queue is closed."""
        with self._changed:
            while not self._is_closed:
                self._changed.wait_for(lambda: self._jobs or self._is_closed)
                self._changed.wait_for(lambda: len(self._jobs) >= _MAX_IMAGES or self._is_closed, _GATHER_SECONDS)
                if self._jobs and not self._is_closed:  # all may have been discarded meanwhile
                    return [self._jobs.popleft() for _ in range(min(_MAX_IMAGES, len(self._jobs)))]
            return []

    def _predict(self, batch: Sequence[Job]) -> None:
        people: dict[Job, list[PersonCrop]] = {}
        for job in batch:
            if not job.is_wanted():
                _fail(job, RequestError(HTTPStatus.GATEWAY_TIMEOUT, "the image waited too long; try again later"))
                continue
            try:
                people[job] = self._crop_people(job)
            except Exception as error:  # an image that the detector fails at must not take the others with it
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
