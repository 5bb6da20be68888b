"""Progress of commands, as a bar on a terminal and as lines elsewhere, and the summary of `mspn predict`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from mspn.cli.printing import SafeConsole, echo, escape_control_characters
from mspn.interrupts import StopRequest
from mspn.predict.pipeline import ImageResult

_MAX_ROWS = 20
_SECONDS_BETWEEN_LINES = 10.0


class ProgressLines:
    """Lines on standard error, ten seconds apart at least, where no terminal shows a bar."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def print(self, line: Callable[[], str]) -> None:
        """Print the line if it is time for one."""
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            echo(line(), err=True)


@contextmanager
def show_progress(total: int | None, stop: StopRequest) -> Iterator[Callable[[ImageResult], None]]:
    """Show images and people per second and the time left; called with each result."""
    num_images = num_people = 0
    with show_totals(_Activity(stop)) as show:

        def advance(result: ImageResult) -> None:
            nonlocal num_images, num_people
            num_images += 1
            num_people += len(result.poses)
            show(num_images, num_people, total)

        yield advance


@contextmanager
def show_totals(activity: ProgressColumn) -> Iterator[Callable[[int, int, int | None], None]]:
    """Show images and people per second and the time left; called with both counts, and of how many images if known."""
    console = SafeConsole(stderr=True)
    if not console.is_terminal:
        lines = ProgressLines()
        start = time.monotonic()
        yield lambda num_images, num_people, total: lines.print(
            lambda: f"predicting: {_rates(num_images, num_people, time.monotonic() - start, total)}"
        )
        return
    columns = (activity, BarColumn(20), MofNCompleteColumn(), _Rates(Column(no_wrap=True)), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, people=0)
        yield lambda num_images, num_people, total: bar.update(
            task, completed=num_images, people=num_people, total=total
        )


def _rates(num_images: int, num_people: int, seconds: float, total: int | None) -> str:
    count = f"{num_images} images" if total is None else f"{num_images} of {total} images"
    speed = num_images / seconds
    left = "" if total is None or not num_images else f", about {time_left((total - num_images) / speed)} left"
    return f"{count}, {speed:.1f} images/s, {num_people / seconds:.1f} people/s{left}"


def time_left(seconds: float) -> str:
    """Seconds up to two minutes, then minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@contextmanager
def show_count(
    activity: str = "estimating", what: str = "images", *, is_shown: bool = True
) -> Iterator[Callable[[int, int], None]]:
    """Show how many images, or what else, are done, and of how many; called with both.

    Args:
        activity: what is done.
        what: is counted.
        is_shown: False in all processes of a job but the first.
    """
    console = SafeConsole(stderr=True)
    if not is_shown:
        yield lambda _done, _total: None
    elif not console.is_terminal:
        lines = ProgressLines()
        yield lambda done, total: lines.print(lambda: f"{activity}: {done} of {total} {what}")
    else:
        with Progress(console=console) as bar:
            task = bar.add_task(activity, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


class _Activity(ProgressColumn):
    """Says what is done; after Ctrl-C, that images in flight are being finished."""

    def __init__(self, stop: StopRequest) -> None:
        super().__init__()
        self._stop = stop

    def render(self, _task: Task) -> Text:
        return Text("finishing; Ctrl-C again ends at once" if self._stop.signal_number else "predicting")


class _Rates(ProgressColumn):
    def render(self, task: Task) -> Text:
        if not task.speed or not task.completed:
            return Text("")
        people_per_image = task.fields["people"] / task.completed
        return Text(f"{task.speed:.1f} images/s, {task.speed * people_per_image:.1f} people/s")


@dataclass
class _Row:
    source: str
    is_video: bool
    is_readable: bool
    num_images: int = 0
    num_people: int = 0
    best_score: float = 0.0


@dataclass
class Tally:
    """Counts over all results, and a row for each of the first sources."""

    num_images: int = 0
    num_people: int = 0
    num_with_problems: int = 0
    started: float = field(default_factory=time.monotonic)
    _rows: list[_Row] = field(default_factory=list)
    _last: _Row | None = None
    _num_sources: int = 0

    def count(self, result: ImageResult) -> None:
        self.num_with_problems += bool(result.problems)
        is_video = result.image is not None and result.image.frame is not None
        is_same_video = self._last is not None and self._last.is_video and self._last.source == result.source
        if is_same_video and result.image is None:
            return  # a frame, or the rest, that cannot be read
        self.num_images += 1
        self.num_people += len(result.poses)
        if self._last is None or not (is_same_video and is_video):
            self._last = _Row(result.source, is_video, result.image is not None)
            self._num_sources += 1
            if self._num_sources <= _MAX_ROWS:
                self._rows.append(self._last)
        row = self._last
        row.num_images += 1
        row.num_people += len(result.poses)
        row.best_score = max([row.best_score, *(pose.score for pose in result.poses)])

    def show(self) -> None:
        """Print the rows and a line with the counts."""
        table = Table("image", "people", "best score")
        for row in self._rows:
            best = f"{row.best_score:.2f}" if row.num_people else "-"
            table.add_row(escape(escape_control_characters(row.source)), _people(row), best)  # before it is measured
        if self._num_sources > _MAX_ROWS:
            table.add_row(f"... and {self._num_sources - _MAX_ROWS} more", "", "")
        SafeConsole().print(table)
        seconds = time.monotonic() - self.started
        echo(describe_totals(self.num_images, self.num_people, self.num_with_problems, seconds))


def describe_totals(num_images: int, num_people: int, num_with_problems: int, seconds: float) -> str:
    """The counts of a run, and how many a second."""
    seconds = max(seconds, 1e-9)
    rates = f"{num_images / seconds:.1f} images/s, {num_people / seconds:.1f} people/s"
    failed = f", {_with_plural(num_with_problems, 'image')} with problems" if num_with_problems else ""
    people = "1 person" if num_people == 1 else f"{num_people} people"
    return f"{_with_plural(num_images, 'image')}, {people} in {seconds:.1f} s ({rates}){failed}"


def _people(row: _Row) -> str:
    if row.is_video:
        return f"{row.num_people} in {_with_plural(row.num_images, 'frame')}"
    return str(row.num_people) if row.is_readable else "not read"


def _with_plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
