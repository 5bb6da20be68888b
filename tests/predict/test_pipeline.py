import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn import PoseEstimator
from mspn.detectors.precomputed import BoxesFile
from mspn.errors import DetectorError
from mspn.predict import pipeline
from mspn.predict.ensemble import PersonCrop
from mspn.predict.pipeline import ImageResult, predict_images
from mspn.sources import open_sources
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.image import FrameInfo, Image, SourceFailure, Video
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17
from tests.trained import overfitted

LIVE = Video("0", Size(64, 64), None, None, is_live=True)
FILE = Video("walk.mp4", Size(64, 64), None, None, is_live=False)


class _Stub:
    """An estimator without networks: everyone's keypoints lie where the image says by its darkest pixel's place."""

    batch_size = 4
    detected_at_once = estimated_at_once = 1
    threshold = 0.3

    def __init__(self, num_people: int = 1) -> None:
        self.num_people = num_people
        self.looked_at: list[int] = []
        self.batches: list[int] = []

    def detect(self, image: Image, _min_score: float = 0.3) -> list[Detection]:
        self.looked_at.append(image.frame.index if image.frame else -1)
        left = float(image.pixels[0, 0, 0])
        return [Detection(Box(left, 5, 20, 40), 0.9)] * self.num_people

    def crop(self, image: Image, detection: Detection) -> PersonCrop:
        # The crop says where the person stands, whatever the box.
        return PersonCrop(detection, (), (image.pixels[:1, :1].copy(),))

    def estimate(self, person_crops: Sequence[PersonCrop]) -> list[Pose]:
        self.batches.append(len(person_crops))
        return [self._pose(person_crop) for person_crop in person_crops]

    def select(self, poses: Sequence[Pose]) -> list[Pose]:
        return list(poses)

    def _pose(self, person_crop: PersonCrop) -> Pose:
        left = float(person_crop.crops[0][0, 0, 0])
        keypoints = np.linspace((left, 5), (left + 20, 45), 17)
        return Pose(
            COCO_17, keypoints, np.full(17, 0.9), 0.8, 1.3, person_crop.detection.box, person_crop.detection.score
        )


def _image(number: int, video: Video | None = None, left: int = 0) -> Image:
    """An image with a person `left` pixels from its edge."""
    pixels = np.full((64, 64, 3), left, np.uint8)
    return Image(f"{number}.jpg", pixels, FrameInfo(video, number, number / 25) if video else None)


def _predict(stub: _Stub, images: object, **settings: object) -> list:  # type: ignore[type-arg]
    return list(predict_images(stub, images, **settings))  # type: ignore[arg-type]


def test_people_of_many_images_share_batches_and_keep_their_images():
    folder, weights = overfitted()
    estimator = PoseEstimator(weights, BoxesFile(folder / "annotations.json"), precision="float32", batch_size=3)
    batches = []
    estimate = estimator.top_down.estimate
    estimator.top_down.estimate = lambda person_crops: batches.append(len(person_crops)) or estimate(person_crops)  # type: ignore[method-assign]

    results = list(predict_images(estimator.top_down, open_sources([folder / "images"])))

    # Eight people: batches of three are filled to the last place, and two people are left.
    assert batches == [3, 3, 2]
    assert [Path(result.source).name for result in results] == [f"{number:012d}.png" for number in (1, 2, 3, 4)]
    for result in results:
        alone = estimator(result.source)
        np.testing.assert_allclose(result.poses[0].keypoints_image, alone[0].keypoints_image, atol=1e-3)


def test_many_people_of_one_image_are_split_into_batches():
    stub = _Stub(num_people=10)

    (result,) = _predict(stub, [_image(0)])

    assert stub.batches == [4, 4, 2]
    assert len(result.poses) == 10


def test_an_image_that_cannot_be_read_is_reported_in_its_place_and_the_others_are_done(tmp_path: Path):
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "b.jpg").write_text("not an image")

    results = list(predict_images(PoseEstimator(overfitted()[1], "none").top_down, open_sources([tmp_path])))

    assert [len(result.poses) for result in results] == [1, 0, 1]
    assert [len(result.problems) for result in results] == [0, 1, 0]
    assert "b.jpg is not an image that can be read" in results[1].problems[0]


class _OddBoxes:
    def detect(self, image: Image) -> list[Detection]:
        good = Detection(Box(5, 5, 40, 50), 0.9)
        empty = Detection(Box(5, 5, 0, 50), 0.9)
        outside = Detection(Box(500, 5, 40, 50), 0.9)
        unknown = Detection(Box(float("nan"), 5, 40, 50), 0.9)
        unsure = Detection(Box(5, 5, 40, 50), float("nan"))
        return [empty, good, outside, unknown, unsure]


def test_boxes_of_no_use_are_reported_and_the_others_are_done(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))

    (result,) = predict_images(PoseEstimator(overfitted()[1], _OddBoxes()).top_down, open_sources([tmp_path / "a.png"]))

    assert [pose.box for pose in result.poses] == [Box(5, 5, 40, 50)]
    empty, outside, unknown, unsure = result.problems
    assert "box [5, 5, 0, 50] is empty" in empty
    assert "box [500, 5, 40, 50] lies outside the image of 64x64 pixels" in outside
    assert "box [nan, 5, 40, 50] has a number that is not finite" in unknown
    assert "score must be from 0 to 1, not nan" in unsure


def test_an_image_at_which_the_detector_fails_is_reported_and_the_others_are_done():
    def find(image: Image) -> list[Detection]:
        if image.source == "1.jpg":
            raise DetectorError("boxes.txt, line 2 is no box")
        return [Detection(Box(0, 0, 64, 64), 1.0)]

    first, second, third = predict_images(_Stub(), map(_image, range(3)), find)  # type: ignore[arg-type]

    assert len(first.poses) == len(third.poses) == 1
    # Nobody can say whether anyone is in it.
    assert second.image is None
    assert second.problems == ["1.jpg: boxes.txt, line 2 is no box"]


def test_a_detector_looks_at_as_many_images_side_by_side_as_it_can_and_results_keep_their_order():
    stub = _Stub()
    stub.detected_at_once = 3
    side_by_side = threading.Barrier(3, timeout=10)

    def detect(image: Image) -> list[Detection]:
        side_by_side.wait()  # until three are here
        if image.source == "4.jpg":
            raise DetectorError("no memory is left")
        return [Detection(Box(0, 0, 9, 9), 1.0)]

    stub.detect = detect  # type: ignore[method-assign]

    results = _predict(stub, [_image(number) for number in range(6)])

    assert [result.source for result in results] == [f"{number}.jpg" for number in range(6)]
    assert [len(result.poses) for result in results] == [1, 1, 1, 1, 0, 1]
    assert results[4].problems == ["4.jpg: no memory is left"]


def test_where_boxes_are_propagated_the_detector_looks_at_one_frame_after_another():
    stub = _Stub()
    stub.detected_at_once = 3

    results = _predict(stub, [_image(number, FILE) for number in range(6)], detect_every=2)

    assert stub.looked_at == [0, 2, 4]
    assert [len(result.poses) for result in results] == [1] * 6


def test_a_detector_that_fails_for_long_holds_no_results_back():
    stub = _Stub()
    looked_at = []

    def detect(image: Image) -> list[Detection]:
        looked_at.append(image.source)
        if len(looked_at) > 3:
            raise DetectorError("no memory is left")
        return stub.detect(image)

    results = predict_images(stub, (_image(number, FILE) for number in range(300)), detect, track=True)  # type: ignore[arg-type]

    assert [pose.track_id for pose in next(results).poses] == [1]
    # Two groups of 16, and what waits between the stages.
    assert len(looked_at) < 100
    assert len(list(results)) == 299


def test_a_program_ends_though_the_detector_hangs():
    code = """
import threading
import time
from mspn.predict.stages import Workers
workers = Workers(1, "hangs")
workers.submit(threading.Event().wait)
"""

    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_the_first_batches_of_images_are_small():
    stub = _Stub()
    stub.batch_size = 32

    _predict(stub, [_image(number) for number in range(60)])

    # 8, then twice as many, then as many as a batch holds; four are left.
    assert stub.batches == [8, 16, 32, 4]


def test_nobody_in_an_image_is_an_empty_result():
    (result,) = _predict(_Stub(num_people=0), [_image(0)])

    assert result.poses == []
    assert result.problems == []


def test_images_in_which_hardly_anyone_is_do_not_wait_for_a_full_batch():
    stub = _Stub()
    stub.detect = lambda image: [Detection(Box(0, 0, 9, 9), 1.0)] if image.source == "0.jpg" else []  # type: ignore[method-assign]

    _predict(stub, [_image(number) for number in range(20)])

    # One person of four waits, and with it at most 2 * 4 images: without the rule, all 20 would.
    assert stub.batches == [1]
    results = predict_images(stub, (_image(number) for number in range(10**9)))  # type: ignore[arg-type]
    assert next(results).source == "0.jpg"
    results.close()


def test_large_images_do_not_wait_for_a_full_batch_where_their_pixels_are_kept():
    large = np.zeros((3000, 5000, 3), np.uint8)

    kept, dropped = _Stub(), _Stub()
    _predict(kept, [Image("a", large) for _ in range(4)])
    _predict(dropped, [Image("a", large) for _ in range(4)], keep_pixels=False)

    # Two of 15 megapixels are more than 25.
    assert kept.batches == [2, 2]
    assert dropped.batches == [4]


def test_pixels_that_nobody_wants_are_let_go():
    results = _predict(_Stub(), [_image(0, left=9), _image(1, FILE, left=9)], keep_pixels=False)

    for result in results:
        assert result.image.size == Size(64, 64)
        assert result.image.pixels.base.nbytes == 1
        assert result.image.pixels.max() == 0
    assert results[1].image.frame.index == 1


def test_people_before_a_camera_wait_for_no_batch():
    stub = _Stub()

    _predict(stub, [_image(number, LIVE) for number in range(3)])

    assert stub.batches == [1, 1, 1]


def test_between_two_looks_of_the_detector_boxes_move_with_the_people():
    stub = _Stub()

    # Somebody who goes 3 pixels to the right in each frame.
    results = _predict(stub, [_image(number, FILE, left=3 * number) for number in range(7)], detect_every=3)

    assert stub.looked_at == [0, 3, 6]
    lefts = [result.poses[0].box.left for result in results]
    assert [lefts[number] for number in (0, 1, 3, 6)] == [0, 0, 9, 18]
    # Behind by 3 pixels where nobody has seen the person move, else by less.
    assert 3 < lefts[2] < 6
    assert 10 < lefts[4] < 12
    assert 13 < lefts[5] < 15
    assert [result.poses[0].keypoints_image[0, 0] for result in results] == [0, 3, 6, 9, 12, 15, 18]
    assert all(result.poses[0].box_score == 0.9 for result in results)


def test_images_that_are_no_video_and_the_starts_of_videos_are_always_looked_at():
    stub = _Stub()
    other = Video("run.mp4", Size(64, 64), None, None, is_live=False)
    images = [_image(0), _image(1), _image(2, FILE), _image(3, FILE), _image(4, other), _image(5)]

    _predict(stub, images, detect_every=100)

    assert stub.looked_at == [-1, -1, 2, 4, -1]


def test_after_a_frame_that_cannot_be_read_the_detector_looks_again():
    stub = _Stub()

    _predict(stub, [_image(0, FILE), SourceFailure("walk.mp4", "damaged"), _image(1, FILE)], detect_every=100)

    assert stub.looked_at == [0, 1]


def test_detecting_every_zeroth_image_is_refused():
    with pytest.raises(ValueError, match="detect_every must be 1 or more, not 0"):
        predict_images(_Stub(), [], detect_every=0)  # type: ignore[arg-type]


def test_what_is_known_is_neither_looked_for_nor_estimated_and_people_are_followed_from_it():
    frames = [_image(number, FILE, left=3 * number) for number in range(6)]
    whole, rest = _Stub(), _Stub()
    results = _predict(whole, frames, detect_every=4)
    known = {result.source: result.poses for result in results[:3]}

    resumed = _predict(rest, frames, detect_every=4, lookup=lambda image: known.get(image.source))

    assert rest.looked_at == [4]
    assert sum(rest.batches) == 3
    for one, other in zip(results, resumed, strict=True):
        assert one.poses[0].box == other.poses[0].box


class _FadingStub(_Stub):
    """Somebody whose detections are as sure as said, frame by frame, and others who never are sure."""

    def __init__(self, scores: Sequence[float]) -> None:
        super().__init__()
        self.scores = scores

    def detect(self, image: Image, min_score: float = 0.3) -> list[Detection]:
        (person,) = super().detect(image)
        assert image.frame is not None
        boxes = [Detection(person.box, self.scores[image.frame.index]), Detection(Box(40, 0, 10, 20), 0.15)]
        return [box for box in boxes if box.score >= min_score]


def test_people_of_a_video_get_ids_and_those_of_images_none():
    results = _predict(_Stub(), [_image(0, FILE), _image(1, FILE), _image(2)], track=True)

    assert [[pose.track_id for pose in result.poses] for result in results] == [[1], [1], [None]]


def test_a_doubtful_detection_is_estimated_only_where_somebody_was():
    stub = _FadingStub([0.9, 0.2, 0.9])

    results = _predict(stub, [_image(number, FILE, left=5) for number in range(3)], track=True)

    # The other doubtful box of each frame costs no network.
    assert sum(stub.batches) == 3
    assert [[pose.box_score for pose in result.poses] for result in results] == [[0.9], [0.2], [0.9]]
    assert [[pose.track_id for pose in result.poses] for result in results] == [[1], [1], [1]]


def test_people_of_eight_frames_share_batches_where_they_are_followed():
    stub = _FadingStub([0.9] * 4 + [0.2] * 6)

    results = _predict(stub, [_image(number, FILE, left=5) for number in range(10)], track=True)

    # Whether the doubtful one of the fifth frame is somebody is known before anybody is estimated; the ninth waits.
    assert stub.batches == [4, 4, 2]
    assert [[pose.track_id for pose in result.poses] for result in results] == [[1]] * 10


def test_frames_of_a_live_source_wait_for_no_others():
    stub = _FadingStub([0.9, 0.2, 0.2])

    _predict(stub, [_image(number, LIVE, left=5) for number in range(3)], track=True)

    assert stub.batches == [1, 1, 1]


@pytest.mark.parametrize("num_known", [3, 8, 11])
def test_a_run_that_is_continued_estimates_frames_together_as_before(num_known: int):
    frames = [_image(number, FILE, left=5 + number) for number in range(20)]
    scores = [0.9] * 2 + [0.2] * 18
    whole, rest = _FadingStub(scores), _FadingStub(scores)
    results = _predict(whole, frames, track=True)
    known = {result.source: result.poses for result in results[:num_known]}

    resumed = _predict(rest, frames, track=True, lookup=lambda image: known.get(image.source))

    assert rest.looked_at == list(range(num_known // 8 * 8, 20))
    for one, other in zip(results, resumed, strict=True):
        assert [(pose.box, pose.track_id) for pose in one.poses] == [(pose.box, pose.track_id) for pose in other.poses]


def test_without_tracks_doubtful_detections_do_not_count():
    stub = _FadingStub([0.9, 0.2, 0.9])

    results = _predict(stub, [_image(number, FILE, left=5) for number in range(3)], track=False)

    assert [len(result.poses) for result in results] == [1, 0, 1]
    assert results[0].poses[0].track_id is None


def test_pixels_wait_for_doubtful_detections_and_are_let_go_then():
    stub = _FadingStub([0.9, 0.2, 0.2])

    results = _predict(stub, [_image(number, FILE, left=9) for number in range(3)], track=True, keep_pixels=False)

    assert [len(result.poses) for result in results] == [1, 1, 1]
    assert all(result.image.pixels.max() == 0 for result in results)


def test_a_cut_ends_all_tracks_and_the_detector_looks_again():
    stub = _Stub()
    pixels = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    pixels[:, 0, 0] = 9
    shots = [Image("film.mp4", pixels[number // 3], FrameInfo(FILE, number, number / 25)) for number in range(6)]

    results = _predict(stub, shots, track=True, detect_every=100)

    assert stub.looked_at == [0, 3]
    assert [result.poses[0].track_id for result in results] == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("failing", [3, 2])
def test_a_cut_where_the_detector_fails_ends_all_tracks_too(failing: int):
    stub = _Stub()
    pixels = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    pixels[:, 0, 0] = 9
    shots = [Image("film.mp4", pixels[number // 3], FrameInfo(FILE, number, number / 25)) for number in range(6)]

    def detect(image: Image) -> list[Detection]:
        if image.frame is not None and image.frame.index == failing:
            raise DetectorError("no memory is left")
        return stub.detect(image)

    results = _predict(stub, shots, detect=detect, track=True)

    assert [[pose.track_id for pose in result.poses] for result in results] == [
        [] if number == failing else [1 + number // 3] for number in range(6)
    ]


def test_ids_of_a_resumed_run_are_those_of_an_undisturbed_one():
    frames = [_image(number, FILE, left=number) for number in range(12)]
    scores = [0.9, 0.2, 0.9, 0.05, 0.05, 0.9, 0.9, 0.2, 0.2, 0.9, 0.05, 0.9]
    whole = _predict(_FadingStub(scores), frames, track=True)

    for num_known in range(12):
        known = {result.source: result.poses for result in whole[:num_known]}
        resumed = _predict(_FadingStub(scores), frames, track=True, lookup=partial(_look_up, known))
        assert _ids(resumed) == _ids(whole)
    assert _ids(whole)[-1] == [1]


def _look_up(known: dict[str, list[Pose]], image: Image) -> list[Pose] | None:
    return known.get(image.source)


def _ids(results: Sequence[ImageResult]) -> list[list[int | None]]:
    return [[pose.track_id for pose in result.poses] for result in results]


class _CountingTracker:
    """Gives everybody in every frame another number."""

    def __init__(self) -> None:
        self.last = 100
        self.num_ended = 0

    def update(self, poses: Sequence[Pose], frame: FrameInfo) -> list[Pose]:
        self.last += len(poses)
        return [replace(pose, track_id=self.last - place) for place, pose in enumerate(poses)]

    def end_tracks(self) -> None:
        self.num_ended += 1


def test_ids_of_another_tracker_are_taken():
    results = _predict(_Stub(), [_image(number, FILE) for number in range(3)], track=_CountingTracker(), detect_every=2)

    assert _ids(results) == [[101], [102], [103]]


@pytest.mark.parametrize("place", ["reading", "finding", "estimating"])
def test_an_error_in_a_thread_reaches_whoever_takes_the_results(place: str):
    stub = _Stub()

    def fail(*_: object) -> list:  # type: ignore[type-arg]
        raise RuntimeError(f"{place} failed")

    def images() -> Iterator[Image]:
        yield _image(0)
        if place == "reading":
            fail()

    stub.detect = fail if place == "finding" else stub.detect  # type: ignore[method-assign]
    stub.estimate = fail if place == "estimating" else stub.estimate  # type: ignore[method-assign]

    with pytest.raises(RuntimeError, match=f"{place} failed"):
        _predict(stub, images())
    assert _threads() == 0


def test_whoever_stops_taking_results_ends_the_threads_and_closes_the_source():
    closed = threading.Event()

    def endless() -> Iterator[Image]:
        try:
            while True:
                yield _image(0)
        finally:
            closed.set()

    for result in predict_images(_Stub(), endless()):  # type: ignore[arg-type]
        assert result.source == "0.jpg"
        break

    assert closed.is_set()
    assert _threads() == 0


def test_no_more_images_are_alive_than_the_stages_hold():
    alive: list[int] = []
    most = 0

    def images() -> Iterator[Image]:
        nonlocal most
        for number in range(300):
            pixels = np.zeros((64, 64, 3), np.uint8)
            alive.append(number)
            weakref.finalize(pixels, alive.remove, number)
            most = max(most, len(alive))
            yield Image(f"{number}.jpg", pixels)
            del pixels

    for _ in predict_images(_Stub(), images(), keep_pixels=False):  # type: ignore[arg-type]
        pass

    # 16 wait to be looked at; a few more are in somebody's hands.
    assert most <= 22


def _threads() -> int:
    return sum(thread.name == "mspn-stage" for thread in threading.enumerate())


def test_large_images_are_not_held_side_by_side(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline, "_MAX_PIXELS", 64 * 64)
    stub = _Stub()
    stub.detected_at_once = 3
    running, most = 0, 0

    def detect(_image: Image) -> list[Detection]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return []

    stub.detect = detect  # type: ignore[method-assign]

    assert len(_predict(stub, [_image(number) for number in range(6)])) == 6
    assert most == 1
