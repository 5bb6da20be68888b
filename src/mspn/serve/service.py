"""From pictures to answers: admitted, decoded in threads, run through the networks by one worker."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import torch

from mspn.predict.estimator import PoseEstimator
from mspn.serve.answers import HeatmapPainter, PeopleOptions
from mspn.serve.batching import Batcher, Job
from mspn.serve.limits import Picture, RequestError, ServeLimits, decode_picture
from mspn.serve.observability import Metrics
from mspn.structures.image import Image
from mspn.structures.pose import Pose

Answer = TypeVar("Answer")

_MAX_DECODED = 16
"""Pictures in memory as pixels: those of the batch in work, and of the next."""
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
        self._threads = ThreadPoolExecutor(_NUM_THREADS, "mspn-pictures")
        self._slots = asyncio.Semaphore(_MAX_DECODED)
        self._num_waiting = 0
        self._painter: HeatmapPainter | None = None

    def start(self) -> None:
        """Warm up, and begin to take pictures."""
        self._batcher.start()

    def close(self) -> None:
        """Give up what still waits."""
        self._batcher.close()
        self._threads.shutdown(cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        """Whether pictures are taken."""
        return self._batcher.is_running

    def threshold(self, options: PeopleOptions) -> float:
        """The lowest score of a detection: a client's, or else the service's own."""
        return self.estimator.top_down.threshold if options.threshold is None else options.threshold

    async def answer(
        self, pictures: Sequence[Picture], options: PeopleOptions, finish: Callable[[Image, list[Pose]], Answer]
    ) -> list[Answer]:
        """Find the poses in the pictures of one request, and make something of each.

        Args:
            pictures: all of them are taken, or none.
            options: which people count.
            finish: called in a thread with a picture and its poses, best first.

        Raises:
            RequestError: if too many pictures wait already, one cannot be decoded, or the time is over.
        """
        self._admit(len(pictures))
        deadline = time.monotonic() + self.limits.answer_seconds
        tasks = [asyncio.ensure_future(self._answer(picture, options, finish, deadline)) for picture in pictures]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            self._admit(-len(pictures))

    def paint_heatmaps(self, image: Image, pose: Pose) -> dict[str, Any]:
        """The heat maps of all stages and levels, see `HeatmapPainter`; the first call loads the network."""
        painter = self._painter = self._painter or HeatmapPainter(self.model)
        return painter.paint(image, pose)

    def _admit(self, count: int) -> None:
        if count > 0 and self._num_waiting + count > self.limits.max_waiting:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self._num_waiting} pictures wait already; try again later",
                retry_seconds=self._num_waiting * self._batcher.seconds_per_image,
            )
        self._num_waiting += count
        self.metrics.waiting.inc(count)

    async def _answer(
        self,
        picture: Picture,
        options: PeopleOptions,
        finish: Callable[[Image, list[Pose]], Answer],
        deadline: float,
    ) -> Answer:
        async with self._slots:
            pixels = await self._run(decode_picture, picture.encoded, self.limits.max_pixels)
            image = Image(picture.name, pixels)
            max_people = min(options.max_people or self.limits.max_people, self.limits.max_people)
            job = Job(image, self.threshold(options), max_people, deadline)
            self._batcher.submit(job)
            poses = await asyncio.wrap_future(job.poses)
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
