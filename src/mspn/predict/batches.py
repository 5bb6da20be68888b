"""People of several images that a network looks at together, and the images that wait for their poses meanwhile."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from mspn.predict.ensemble import PersonCrop
from mspn.predict.stages import Workers
from mspn.structures.boxes import Detection
from mspn.structures.image import Image
from mspn.structures.pose import Pose

_FIRST_BATCH = 8
"""People."""


@dataclass(eq=False)
class PendingImage:
    """An image on its way through the stages."""

    source: str
    image: Image | None
    """None if it could not be read, or the detector failed."""
    is_propagated: bool = False
    """Whether its boxes come from the previous frame rather than from the detector."""
    begins_shot: bool = False
    """Whether it shows another shot of the video than the previous frame."""
    is_cached: bool = False
    """Whether its poses come from an earlier run."""
    doubtful: list[Detection] = field(default_factory=list)
    """Detections below the threshold, of which those that may continue a track are to be estimated too."""
    people: list[PersonCrop] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)
    """Of `people`, in order, as far as they are estimated."""
    problems: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return len(self.poses) >= len(self.people)


class PersonBatcher:
    """Fills batches with the people of several images; gives images back in order once all their people are done.

    The first batches are small, so that the network need not wait for the detector; each is twice as large as the last.
    """

    def __init__(self, estimate: Callable[[Sequence[PersonCrop]], list[Pose]], batch_size: int) -> None:
        self._estimate = estimate
        self._largest = batch_size
        self._next = min(_FIRST_BATCH, batch_size)
        self.pending: deque[PendingImage] = deque()
        """Images that are not given back yet."""
        self._queue: deque[tuple[PendingImage, PersonCrop]] = deque()

    def add(self, image: PendingImage) -> None:
        self.pending.append(image)
        self._queue += [(image, person) for person in image.people]

    def run_full_batches(self) -> Iterator[PendingImage]:
        """Estimate full batches; the people left over wait for more."""
        while len(self._queue) >= self._next:
            self._run()
        return self._take_done()

    def run_all(self) -> Iterator[PendingImage]:
        """Estimate all people."""
        while self._queue:
            self._run()
        return self._take_done()

    def _run(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(self._next, len(self._queue)))]
        poses = self._estimate([person for _, person in batch])
        for (image, _), pose in zip(batch, poses, strict=True):
            image.poses.append(pose)
        self._next = min(2 * self._next, self._largest)

    def _take_done(self) -> Iterator[PendingImage]:
        while self.pending and self.pending[0].is_done:
            yield self.pending.popleft()


class FramesTogether:
    """Frames of a video whose people the network looks at in the background, the confident ones first."""

    def __init__(
        self,
        frames: Sequence[PendingImage],
        estimate: Callable[[Sequence[PersonCrop]], list[Pose]],
        network: Workers,
    ) -> None:
        self._frames = frames
        self._estimate = estimate
        self._network = network
        self._num_sent = [0] * len(frames)
        self._sent: list[tuple[list[PendingImage], Future[list[Pose]]]] = []
        self.estimate_rest()

    def estimate_rest(self) -> None:
        """Send whoever has come since the last time to the network."""
        people = [
            (frame, person)
            for frame, sent in zip(self._frames, self._num_sent, strict=True)
            for person in frame.people[sent:]
        ]
        self._num_sent = [len(frame.people) for frame in self._frames]
        if people:
            poses = self._network.submit(partial(self._estimate, [person for _, person in people]))
            self._sent.append(([frame for frame, _ in people], poses))

    def wait(self) -> Sequence[PendingImage]:
        """The frames with their poses."""
        for frames, poses in self._sent:
            for frame, pose in zip(frames, poses.result(), strict=True):
                frame.poses.append(pose)
        return self._frames
