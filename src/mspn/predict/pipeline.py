"""Poses of many images: reading, detection and estimation overlap, and batches cross images."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from mspn.errors import DetectorError, InvalidValueError, MspnError
from mspn.predict.batches import FramesTogether, PendingImage, PersonBatcher
from mspn.predict.stages import Stages, Workers
from mspn.predict.top_down import TopDown
from mspn.structures.boxes import Detection, iou, to_xyxy
from mspn.structures.image import FrameInfo, Image, SourceFailure, Video
from mspn.structures.pose import Pose
from mspn.tracking.association import import_solver
from mspn.tracking.tracker import BoxTracker, CutDetector, PoseTracker, Tracker, TrackerSettings

_MAX_PIXELS = 25_000_000
"""Pixels of the images between two stages, or of those that wait for a full batch (3 bytes each); or one image."""
_MAX_IMAGES = 16
"""Images between two stages."""
_MAX_WAITING_IMAGES_PER_PERSON = 2
"""Images that wait for a full batch, per person of a batch; otherwise results without people would wait for ever."""
_FRAMES_AT_ONCE = 8
"""Of a video, whose people are estimated together where they are followed: a batch holds more than one frame's."""
_MAX_GROUP = 2 * _FRAMES_AT_ONCE
"""Of these frames and failures between them, which may go on for long."""
_DOUBTFUL_SCORE = 0.1
"""Detections below the threshold count from here on, where they may continue a track."""
_SAME_PERSON_IOU = 0.7
"""A doubtful box that overlaps a confident one more is of the same person."""


@dataclass(frozen=True, eq=False)
class ImageResult:
    """The poses found in one image.

    >>> import mspn, numpy as np
    >>> frames = [np.zeros((64, 48, 3), np.uint8)]
    >>> (result,) = mspn.PoseEstimator("mspn-tiny", "none").stream(frames)
    >>> result.image.size, len(result.poses)
    (Size(height=64, width=48), 1)
    """

    source: str
    image: Image | None
    """None if it could not be read, or the detector failed; black if pixels were not to be kept."""
    poses: list[Pose]
    """Best first."""
    problems: list[str]
    """One line for everything that could not be done."""


def _wait_for_detection(
    pending: PendingImage, detection: "Future[None] | None", failed: list[PendingImage]
) -> PendingImage:
    """The image with its people; without itself where the detector failed."""
    try:
        if detection is not None:
            detection.result()
    except DetectorError as error:
        problem = f"{pending.source}: {error}"
        pending = PendingImage(pending.source, None, begins_shot=pending.begins_shot, problems=[problem])
        failed.append(pending)
    return pending


def _are_large(images: Iterable[PendingImage]) -> bool:
    """Whether no more images are to be held beside these."""
    return sum(_count_pixels(pending.image) for pending in images if pending.image is not None) >= _MAX_PIXELS


def _frame_to_track(pending: PendingImage) -> FrameInfo | None:
    """Of an image of a video whose poses are to be estimated."""
    return pending.image.frame if pending.image and not pending.is_cached else None


def predict_images(
    top_down: TopDown,
    images: Iterable[Image | SourceFailure],
    detect: Callable[[Image], list[Detection]] | None = None,
    select: Callable[[Sequence[Pose]], list[Pose]] | None = None,
    *,
    detect_every: int = 1,
    track: bool | PoseTracker = False,
    lookup: Callable[[Image], list[Pose] | None] | None = None,
    keep_pixels: bool = True,
    is_over: Callable[[], bool] = lambda: False,
) -> Generator[ImageResult, None, None]:
    """Estimate the poses in each image, in order.

    Reading, detection and estimation run in a thread each, a bounded number of images ahead of the next; closing the
    iterator stops them. How batches are filled does not depend on timing, so results are reproducible. An image that
    cannot be read, a box that cannot be cut out, or a DetectorError is a line in `problems`.

    Args:
        top_down: the steps.
        images: read in the first thread.
        detect: gives the detections of an image; None: the detector of `top_down`.
        select: gives an image's result from the poses of its detections; None: `top_down.select`.
        detect_every: run the detector on every Nth frame of a video; propagate boxes in between.
        track: give the people of videos ids: True by a `Tracker`, or by another tracker.
        lookup: gives an image's poses if they are known already, else None.
        keep_pixels: False makes the images of the results black, and frees pixels as soon as people are cut out.
        is_over: once it returns True, nothing more is read; what was read is finished.

    Raises:
        ValueError: if detect_every is below 1.
    """
    if detect_every < 1:
        raise InvalidValueError(f"detect_every must be 1 or more, not {detect_every}")
    work = _Work(top_down, detect, select or top_down.select, detect_every, track, lookup, keep_pixels)
    return _run_stages(work, images, is_over)


@dataclass(frozen=True, eq=False)
class _Work:
    """What the stages do."""

    top_down: TopDown
    detect: Callable[[Image], list[Detection]] | None
    select: Callable[[Sequence[Pose]], list[Pose]]
    detect_every: int
    track: bool | PoseTracker
    lookup: Callable[[Image], list[Pose] | None] | None
    keep_pixels: bool

    def detect_and_crop(self, images: Iterable[Image | SourceFailure]) -> Iterator[PendingImage]:
        """Detect and crop the people of each image, except where their boxes are to be propagated."""
        at_once = self._count_detected_at_once()
        failed: list[PendingImage] = []
        running: deque[tuple[PendingImage, Future[None] | None]] = deque()
        detector = Workers(at_once, "mspn-detector")
        try:
            for pending, is_wanted in self._plan_detection(images, failed):
                running.append((pending, detector.submit(partial(self._detect, pending)) if is_wanted else None))
                is_live = pending.image is not None and _is_live(pending.image)
                while running and (is_live or len(running) >= at_once or _are_large(each for each, _ in running)):
                    yield _wait_for_detection(*running.popleft(), failed)
            while running:
                yield _wait_for_detection(*running.popleft(), failed)
        finally:
            detector.close()

    def _count_detected_at_once(self) -> int:
        """Images that the detector looks at side by side: as many as it says it can, if none depends on another."""
        is_independent = self.detect is None and self.detect_every == 1
        return self.top_down.detected_at_once if is_independent else 1

    def _plan_detection(
        self, images: Iterable[Image | SourceFailure], failed: list[PendingImage]
    ) -> Iterator[tuple[PendingImage, bool]]:
        """Each image, and whether the detector is to look at it: always, where it `failed` on the one before."""
        video: Video | None = None
        frames_since_detection = 0
        cuts = CutDetector()
        for image, known in self._look_up(images):
            if isinstance(image, SourceFailure):
                video = None
                yield PendingImage(image.source, None, problems=[image.problem]), False
                continue
            if failed:
                failed.clear()
                frames_since_detection = self.detect_every
            current = image.frame.video if image.frame else None
            is_next_frame = current is not None and current is video
            if not is_next_frame:
                cuts = CutDetector()
            if current is not None and video is None and self._follows_people:
                import_solver()
            begins_shot = current is not None and self._follows_people and cuts.is_cut(image.pixels)
            is_propagated = is_next_frame and not begins_shot and frames_since_detection < self.detect_every
            video, frames_since_detection = current, frames_since_detection + 1 if is_propagated else 1
            pending = PendingImage(image.source, image, is_propagated, begins_shot)
            if known is not None:
                pending.is_cached, pending.poses = True, known
                self._release_pixels(pending)
            yield pending, known is None and not is_propagated

    def estimate(self, images: Iterable[PendingImage]) -> Iterator[ImageResult]:
        """Estimate the poses of all people, in the order of the images."""
        batcher = PersonBatcher(self.top_down.estimate, self.top_down.batch_size)
        tracker = Tracker(TrackerSettings(confident_score=self.top_down.threshold)) if self._follows_people else None
        network = Workers(self.top_down.estimated_at_once, "mspn-network")
        running: FramesTogether | None = None
        try:
            for group in self._group(images):
                together = None
                if tracker is not None and self._is_together(group[0]):
                    yield from self._finish(batcher.run_all(), tracker)
                    together = FramesTogether(group, self.top_down.estimate, network)
                if running is not None:
                    # While the network looks at the next frames.
                    yield from self._finish(running.wait(), tracker)
                running = together
                if together is not None and tracker is not None:
                    # Who is doubtful follows from the frames before, which are done.
                    self._crop_doubtful_of(group, tracker)
                    together.estimate_rest()
                else:
                    yield from self._estimate_alone(group[0], batcher, tracker)
            if running is not None:
                yield from self._finish(running.wait(), tracker)
            yield from self._finish(batcher.run_all(), tracker)
        finally:
            network.close()

    def _estimate_alone(
        self, pending: PendingImage, batcher: PersonBatcher, tracker: Tracker | None
    ) -> Iterator[ImageResult]:
        """Add an image to the batches; give those back that are done."""
        frame = _frame_to_track(pending)
        if tracker is not None and frame is not None and pending.image is not None:
            # What comes follows from the frames before, so that they must be done.
            yield from self._finish(batcher.run_all(), tracker)
            if pending.is_propagated:
                self._crop(pending, pending.image, tracker.predict_boxes(frame))
            else:
                self._crop_doubtful_of([pending], tracker)
        batcher.add(pending)
        done = batcher.run_all() if self._cannot_wait(batcher) else batcher.run_full_batches()
        yield from self._finish(done, tracker)

    def _group(self, images: Iterable[PendingImage]) -> Iterator[list[PendingImage]]:
        """Frames that are estimated together, with failures between them; other images alone, and at once."""
        group: list[PendingImage] = []
        before: FrameInfo | None = None
        for pending in images:
            frame = _frame_to_track(pending)
            is_failure = pending.image is None
            is_of_group = is_failure or (frame is not None and self._are_together(before, frame))
            if group and (len(group) >= _MAX_GROUP or not is_of_group):
                yield group
                group = []
            if group or self._is_together(pending):
                group.append(pending)
                before = frame or before
            else:
                yield [pending]
        if group:
            yield group

    def _is_together(self, pending: PendingImage) -> bool:
        frame = _frame_to_track(pending)
        return frame is not None and self._count_together(frame) > 1

    @property
    def _follows_people(self) -> bool:
        return self.track is not False or self.detect_every > 1

    def _count_together(self, frame: FrameInfo) -> int:
        """Frames of a video whose people are estimated together; which frames these are depends on their numbers."""
        if self.track is False or self.detect_every > 1 or frame.video.is_live:
            return 1
        height, width = frame.video.size
        return max(min(_FRAMES_AT_ONCE, _MAX_PIXELS // max(height * width, 1)), 1)

    def _are_together(self, previous: FrameInfo | None, frame: FrameInfo) -> bool:
        count = self._count_together(frame)
        return (
            previous is not None and previous.video is frame.video and previous.index // count == frame.index // count
        )

    def _look_up(
        self, images: Iterable[Image | SourceFailure]
    ) -> Iterator[tuple[Image | SourceFailure, list[Pose] | None]]:
        """Each image, and its poses if they are known already.

        They are of no use where those of frames that were estimated together are not all known: who of the others is
        looked at then depends on detections, which nobody kept.
        """
        waiting: list[tuple[Image, list[Pose] | None]] = []
        for image in images:
            frame = None if isinstance(image, SourceFailure) else image.frame
            if waiting and not (frame and self._are_together(waiting[-1][0].frame, frame)):
                yield from _all_or_none(waiting)
                waiting = []
            known = None if isinstance(image, SourceFailure) or self.lookup is None else self.lookup(image)
            if self.lookup and not isinstance(image, SourceFailure) and frame and self._count_together(frame) > 1:
                waiting.append((image, known))
            else:
                yield image, known
        yield from _all_or_none(waiting)

    def _detect(self, pending: PendingImage) -> None:
        """Find people, and crop those whom the detector is confident of."""
        image = pending.image
        assert image is not None
        if self.detect is not None:
            self._crop(pending, image, self.detect(image))
        elif self.track is False or image.frame is None or pending.begins_shot:
            self._crop(pending, image, self.top_down.detect(image))
        else:
            threshold = self.top_down.threshold
            detections = self.top_down.detect(image, min(_DOUBTFUL_SCORE, threshold))
            doubtful = [detection for detection in detections if detection.score < threshold]
            confident = [detection for detection in detections if not detection.score < threshold]
            pending.doubtful = _leave_out_overlapping(doubtful, confident)
            self._crop(pending, image, confident)

    def _crop_doubtful_of(self, group: Sequence[PendingImage], tracker: Tracker) -> None:
        """Crop those whom the detector is not confident of, as far as they may be somebody who is followed."""
        boxes: BoxTracker | None = None
        for pending in group:
            image = pending.image
            if image is not None and image.frame is not None:
                boxes = boxes or tracker.track_boxes(image.frame)
            if pending.begins_shot and boxes is not None:
                boxes.end_tracks()
            if boxes is None or image is None or image.frame is None:
                continue
            chosen = boxes.choose([person.detection for person in pending.people], pending.doubtful, image.frame)
            pending.doubtful = []
            self._crop(pending, image, chosen)

    def _crop(self, pending: PendingImage, image: Image, detections: Sequence[Detection]) -> None:
        for detection in detections:
            try:
                pending.people.append(self.top_down.crop(image, detection))
            except MspnError as error:
                pending.problems.append(f"{image.source}: {error}")
        self._release_pixels(pending)

    def _release_pixels(self, pending: PendingImage) -> None:
        if pending.image is not None and not self.keep_pixels and not pending.doubtful:
            pending.image = pending.image.without_pixels()

    def _cannot_wait(self, batcher: PersonBatcher) -> bool:
        """Whether to run a batch that is not full: for live sources, or when too many images wait."""
        images = [pending.image for pending in batcher.pending if pending.image is not None]
        num_pixels = sum(map(_count_pixels, images)) if self.keep_pixels else 0
        return (
            any(map(_is_live, images))
            or num_pixels >= _MAX_PIXELS
            or len(batcher.pending) >= _MAX_WAITING_IMAGES_PER_PERSON * self.top_down.batch_size
        )

    def _finish(self, images: Iterable[PendingImage], tracker: Tracker | None) -> Iterator[ImageResult]:
        for pending in images:
            poses = pending.poses if pending.is_cached else self.select(pending.poses)
            frame = pending.image.frame if pending.image else None
            if tracker is not None and pending.begins_shot:
                tracker.end_tracks()
                if not isinstance(self.track, bool):
                    self.track.end_tracks()
            if tracker is not None and frame is not None:
                tracked = tracker.update(poses, frame, boxes_are_measured=not pending.is_propagated)
                if self.track is True:
                    poses = tracked
                elif not isinstance(self.track, bool):
                    poses = self.track.update(poses, frame)
            yield ImageResult(pending.source, pending.image, poses, pending.problems)


def _all_or_none(known: list[tuple[Image, list[Pose] | None]]) -> list[tuple[Image, list[Pose] | None]]:
    return known if all(poses is not None for _, poses in known) else [(image, None) for image, _ in known]


def _leave_out_overlapping(doubtful: Sequence[Detection], confident: Sequence[Detection]) -> list[Detection]:
    """The doubtful detections that cannot be of the same people as the confident ones."""
    if not doubtful or not confident:
        return list(doubtful)
    boxes, others = (to_xyxy([detection.box for detection in group]) for group in (doubtful, confident))
    overlaps = iou(boxes[:, None], others).max(1)
    return [detection for detection, overlap in zip(doubtful, overlaps, strict=True) if overlap <= _SAME_PERSON_IOU]


def _run_stages(
    work: _Work, images: Iterable[Image | SourceFailure], is_over: Callable[[], bool]
) -> Generator[ImageResult, None, None]:
    with Stages() as stages:
        read = stages.run_ahead(images, _share_of_buffer, is_over)
        cropped = stages.run_ahead(work.detect_and_crop(read), lambda pending: _share_of_buffer(pending.image))
        yield from stages.run_ahead(work.estimate(cropped), lambda result: _share_of_buffer(result.image))


def _share_of_buffer(image: Image | SourceFailure | None) -> float:
    if not isinstance(image, Image):
        return 1 / _MAX_IMAGES
    if _is_live(image):
        return 1.0  # a buffered frame would no longer be the newest
    return max(1 / _MAX_IMAGES, _count_pixels(image) / _MAX_PIXELS)


def _is_live(image: Image) -> bool:
    return image.frame is not None and image.frame.video.is_live


def _count_pixels(image: Image) -> int:
    return image.size.height * image.size.width
