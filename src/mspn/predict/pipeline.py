"""Many pictures: read, find people, estimate, one ahead of the other; people of several pictures share batches."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mspn.detect.protocol import DetectorError
from mspn.picture import Picture, Unreadable, Video
from mspn.predict.carry import CarriedPeople
from mspn.predict.stages import Stages, never
from mspn.predict.waiting import Task, WaitingPeople
from mspn.records import Detection, Pose

if TYPE_CHECKING:  # whose `stream` is made of this module
    from mspn.predict.estimator import PoseEstimator

_MOST_PIXELS = 25_000_000
"""Of pictures between two stages, and of those that wait for a batch to fill (3 bytes a pixel); or one picture."""
_MOST_PICTURES = 16
"""Between two stages."""
_PICTURES_A_PERSON = 2
"""So many pictures wait for each person of a batch, and no more, lest empty streets keep a result from being seen."""


@dataclass(frozen=True, eq=False)
class PictureResult:
    """What was found in one picture."""

    source: str
    picture: Picture | None
    """None where it could not be read, or the detector failed; black where its pixels were not to be kept."""
    poses: list[Pose]
    """Best first."""
    problems: list[str]
    """A line for everything that could not be done."""


def predict_pictures(
    estimator: "PoseEstimator",
    pictures: Iterable[Picture | Unreadable],
    find: Callable[[Picture], list[Detection]] | None = None,
    *,
    detect_every: int = 1,
    recall: Callable[[Picture], list[Pose] | None] | None = None,
    keep_pixels: bool = True,
    is_over: Callable[[], bool] = never,
) -> Generator[PictureResult, None, None]:
    """Estimate the poses in each picture, in order; a picture or box that is of no use is a line in `problems`, as is a
    picture for which the detector raises DetectorError.

    Reading, finding people and estimating run in threads of their own, each a bounded way ahead of the next; closing
    the iterator stops them. How batches are filled does not depend on time, so that results can be repeated.

    Args:
        estimator: cuts people out and estimates their poses.
        pictures: are read in one of the threads.
        find: gives the people of a picture; None asks the estimator's detector.
        detect_every: look for people in every so many-th picture of a video; in between, follow their poses.
        recall: gives the poses of a picture where they are known, else None.
        keep_pixels: False makes the pictures of the results black, and holds pixels no longer than needed.
        is_over: once it is so, nothing more is read, nor waited for; what was read is finished.

    Raises:
        ValueError: if detect_every is below 1.
    """
    if detect_every < 1:
        raise ValueError(f"detect_every must be 1 picture or more, not {detect_every}")
    return _run_stages(_Work(estimator, find or estimator.find, detect_every, recall, keep_pixels), pictures, is_over)


@dataclass(frozen=True, eq=False)
class _Work:
    """What the stages do."""

    estimator: "PoseEstimator"
    find: Callable[[Picture], list[Detection]]
    detect_every: int
    recall: Callable[[Picture], list[Pose] | None] | None
    keep_pixels: bool

    def look(self, pictures: Iterable[Picture | Unreadable]) -> Iterator[Task]:
        """Find and cut out the people of each picture, but where they are carried over from the picture before."""
        video: Video | None = None
        since_detection = 0
        for picture in pictures:
            if isinstance(picture, Unreadable):
                video = None
                yield Task(picture.source, None, problems=[picture.problem])
                continue
            now = picture.moment.video if picture.moment else None
            is_carried = now is not None and now is video and since_detection < self.detect_every
            video, since_detection = now, since_detection + 1 if is_carried else 1
            task = Task(picture.source, picture, is_carried)
            known = self.recall(picture) if self.recall else None
            if known is not None:
                task.is_known, task.poses = True, known
                self._let_pixels_go(task)
            elif not is_carried:
                try:
                    self._cut_out(task, picture, self.find(picture))
                except DetectorError as error:
                    video = None
                    task = Task(picture.source, None, problems=[f"{picture.source}: {error}"])
            yield task

    def estimate(self, tasks: Iterable[Task]) -> Iterator[PictureResult]:
        """Estimate the poses of everyone, in the order of the pictures."""
        waiting = WaitingPeople(self.estimator.estimate, self.estimator.batch_size)
        carried = CarriedPeople()
        for task in tasks:
            if task.picture is not None and task.is_carried and not task.is_known:
                yield from self._finish(waiting.run_all(), carried)
                self._cut_out(task, task.picture, carried.detections(task.picture.size))
            waiting.add(task)
            done = waiting.run_all() if self._cannot_wait(waiting) else waiting.run_full_batches()
            yield from self._finish(done, carried)
        yield from self._finish(waiting.run_all(), carried)

    def _cut_out(self, task: Task, picture: Picture, detections: Sequence[Detection]) -> None:
        for detection in detections:
            try:
                task.subjects.append(self.estimator.cut(picture, detection))
            except ValueError as error:
                task.problems.append(f"{picture.source}: {error}")
        self._let_pixels_go(task)

    def _let_pixels_go(self, task: Task) -> None:
        if task.picture is not None and not self.keep_pixels:
            task.picture = task.picture.without_pixels()

    def _cannot_wait(self, waiting: WaitingPeople) -> bool:
        """Whether the batch has to be run though it is not full: results of cameras are wanted at once."""
        pictures = [task.picture for task in waiting.tasks if task.picture is not None]
        num_pixels = sum(map(_count_pixels, pictures)) if self.keep_pixels else 0
        return (
            any(map(_is_live, pictures))
            or num_pixels >= _MOST_PIXELS
            or len(waiting.tasks) >= _PICTURES_A_PERSON * self.estimator.batch_size
        )

    def _finish(self, tasks: Iterable[Task], carried: CarriedPeople) -> Iterator[PictureResult]:
        for task in tasks:
            poses = task.poses if task.is_known else self.estimator.choose(task.poses)
            if task.is_carried:
                carried.follow(poses)
            else:
                carried.start(poses)
            yield PictureResult(task.source, task.picture, poses, task.problems)


def _run_stages(
    work: _Work, pictures: Iterable[Picture | Unreadable], is_over: Callable[[], bool]
) -> Generator[PictureResult, None, None]:
    with Stages() as stages:
        read = stages.run_ahead(pictures, _share_of_room, is_over)
        tasks = stages.run_ahead(work.look(read), lambda task: _share_of_room(task.picture))
        yield from stages.run_ahead(work.estimate(tasks), lambda result: _share_of_room(result.picture))


def _share_of_room(picture: Picture | Unreadable | None) -> float:
    if not isinstance(picture, Picture):
        return 1 / _MOST_PICTURES
    if _is_live(picture):
        return 1.0  # what waits is not the newest any more
    return max(1 / _MOST_PICTURES, _count_pixels(picture) / _MOST_PIXELS)


def _is_live(picture: Picture) -> bool:
    return picture.moment is not None and picture.moment.video.is_live


def _count_pixels(picture: Picture) -> int:
    return picture.size.height * picture.size.width
