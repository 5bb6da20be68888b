import asyncio
import gc
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mspn.errors import DetectorError
from mspn.predict.estimator import PoseEstimator
from mspn.serve import service
from mspn.serve.answers import PeopleOptions
from mspn.serve.limits import RequestError, ServeLimits, Upload, decode_upload
from mspn.serve.observability import Metrics
from mspn.serve.service import Batcher, Job, Service
from mspn.structures.boxes import Detection
from mspn.structures.image import Image
from tests.serve.serving import GatedDetector, gated_estimator, picture

SOON = 10.0


def job(side: int = 64, threshold: float = 0.3, max_people: int = 100, seconds: float = SOON) -> Job:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    return Job(Image("", pixels), threshold, max_people, time.monotonic() + seconds)


@contextmanager
def started(estimator: PoseEstimator, sizes: list[int] | None = None) -> Iterator[Batcher]:
    batcher = Batcher(estimator.top_down, (sizes if sizes is not None else []).append)
    batcher.start()
    try:
        yield batcher
    finally:
        batcher.close()


def test_pictures_that_wait_together_share_batches_and_are_answered_as_if_alone(tmp_path: Path):
    detector, sizes = GatedDetector(num_people=2), []
    estimator = gated_estimator(tmp_path, detector)
    jobs = [job(side=64 + n) for n in range(11)]

    with started(estimator, sizes) as batcher:
        detector.shut()
        batcher.submit(jobs[0])
        detector.has_begun.wait(SOON)
        for waiting in jobs[1:]:
            batcher.submit(waiting)
        detector.gate.set()
        found = [waiting.poses.result(SOON) for waiting in jobs]

    assert sizes == [1, 8, 2]
    for waiting, poses in zip(jobs, found, strict=True):
        alone = estimator(waiting.image.pixels)
        assert len(poses) == len(alone) > 0
        for one, other in zip(poses, alone, strict=True):
            np.testing.assert_allclose(one.keypoints_image, other.keypoints_image, atol=1e-3)


def test_the_surest_people_above_the_threshold_are_taken(tmp_path: Path):
    # The detector's scores: 0.9, 0.8, 0.7.
    with started(gated_estimator(tmp_path, GatedDetector(num_people=3))) as batcher:
        several = [job(threshold=0.75), job(max_people=1)]
        for one in several:
            batcher.submit(one)

        scores = [{round(pose.box_score, 6) for pose in one.poses.result(SOON)} for one in several]

    assert scores == [{0.9, 0.8}, {0.9}]


class Picky(GatedDetector):
    def detect(self, image: Image) -> list[Detection]:
        if image.size.width == 13:
            raise DetectorError("thirteen pixels are unlucky")
        return super().detect(image)


def test_a_picture_that_fails_does_not_take_others_with_it(tmp_path: Path):
    detector = Picky()
    with started(gated_estimator(tmp_path, detector)) as batcher:
        detector.shut()
        first, bad, good = job(), job(13), job()
        for one in (first, bad, good):
            batcher.submit(one)
        detector.gate.set()

        with pytest.raises(DetectorError, match="unlucky"):
            bad.poses.result(SOON)
        assert len(first.poses.result(SOON)) == len(good.poses.result(SOON)) == 1


def test_the_worker_goes_on_after_an_error_of_the_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    estimator = gated_estimator(tmp_path, GatedDetector())
    with started(estimator) as batcher:
        with monkeypatch.context() as broken:
            broken.setattr(estimator.top_down, "estimate", lambda _people: 1 / 0)
            first = job()
            batcher.submit(first)
            with pytest.raises(ZeroDivisionError):
                first.poses.result(SOON)
        second = job()
        batcher.submit(second)

        assert len(second.poses.result(SOON)) == 1
        assert batcher.is_running


def test_what_nobody_waits_for_is_not_computed(tmp_path: Path):
    detector = GatedDetector()
    with started(gated_estimator(tmp_path, detector)) as batcher:
        detector.shut()
        first, left, late = job(), job(), job(seconds=0.0)
        batcher.submit(first)
        detector.has_begun.wait(SOON)
        for one in (left, late):
            batcher.submit(one)
        left.poses.cancel()
        detector.gate.set()

        with pytest.raises(RequestError, match="waited too long"):
            late.poses.result(SOON)
        assert len(first.poses.result(SOON)) == 1
        assert detector.num_images == 1


def test_the_worker_goes_on_after_all_that_it_gathers_have_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service, "_GATHER_SECONDS", 0.2)
    sizes: list[int] = []
    with started(gated_estimator(tmp_path, GatedDetector()), sizes) as batcher:
        left, second = job(), job()
        batcher.submit(left)
        time.sleep(0.05)
        batcher.discard(left)
        time.sleep(0.3)
        batcher.submit(second)

        assert len(second.poses.result(SOON)) == 1
        batcher.discard(second)  # it is no longer there
    assert sizes == [1]


def test_images_of_clients_that_have_left_are_forgotten_while_a_batch_is_in_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    detector = GatedDetector()
    decoded: list[weakref.ref[np.ndarray]] = []

    def decode(encoded: bytes, max_pixels: int) -> np.ndarray:
        pixels = decode_upload(encoded, max_pixels)
        decoded.append(weakref.ref(pixels))
        return pixels

    async def leave(serving: Service, number: int) -> None:
        before = len(decoded)
        clients = [
            asyncio.ensure_future(serving.answer([Upload("", picture())], PeopleOptions(), lambda _image, poses: poses))
            for _ in range(number)
        ]
        while len(decoded) < before + number:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(detector.has_begun.wait, SOON)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def run() -> None:
        await leave(serving, 1)  # the network is at it
        for _ in range(3):
            await leave(serving, 4)

    monkeypatch.setattr(service, "decode_upload", decode)
    serving = Service("", gated_estimator(tmp_path, detector), ServeLimits(), Metrics())
    serving.start()
    try:
        detector.shut()
        asyncio.run(run())
        gc.collect()

        assert [pixels() is not None for pixels in decoded] == [True] + 12 * [False]
    finally:
        detector.gate.set()
        serving.close()


def test_what_waits_at_the_end_is_told_so(tmp_path: Path):
    batcher = Batcher(gated_estimator(tmp_path, GatedDetector()).top_down)
    waiting = job()
    batcher.submit(waiting)

    batcher.close()

    with pytest.raises(RequestError, match="the service stops"):
        waiting.poses.result(SOON)
    assert not batcher.is_running
