"""Pictures whose people wait for a batch to fill."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from mspn.picture import Picture
from mspn.predict.subject import Subject
from mspn.records import Pose


@dataclass(eq=False)
class Task:
    """A picture on its way through the stages."""

    source: str
    picture: Picture | None
    """None where it could not be read, or the detector failed."""
    is_carried: bool = False
    """Whether its people are looked for where they were in the picture before."""
    is_known: bool = False
    """Whether its poses are known without a network."""
    subjects: list[Subject] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)
    """Of the subjects, as far as they are estimated."""
    problems: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return len(self.poses) >= len(self.subjects)


class WaitingPeople:
    """Gathers people of several pictures, and gives pictures back, in order, once all of their people are estimated."""

    def __init__(self, estimate: Callable[[Sequence[Subject]], list[Pose]], batch_size: int) -> None:
        self._estimate = estimate
        self._batch_size = batch_size
        self.tasks: deque[Task] = deque()
        """Pictures that are not given back yet."""
        self._people: deque[tuple[Task, Subject]] = deque()

    def add(self, task: Task) -> None:
        self.tasks.append(task)
        self._people += [(task, subject) for subject in task.subjects]

    def run_full_batches(self) -> Iterator[Task]:
        """Estimate as many people as fill batches to the last place."""
        return self._run(least=self._batch_size)

    def run_all(self) -> Iterator[Task]:
        """Estimate everyone."""
        return self._run(least=1)

    def _run(self, least: int) -> Iterator[Task]:
        while len(self._people) >= least:
            batch = [self._people.popleft() for _ in range(min(self._batch_size, len(self._people)))]
            poses = self._estimate([subject for _, subject in batch])
            for (task, _), pose in zip(batch, poses, strict=True):
                task.poses.append(pose)
        while self.tasks and self.tasks[0].is_done:
            yield self.tasks.popleft()
