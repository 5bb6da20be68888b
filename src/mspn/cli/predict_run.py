"""The run of `mspn predict`: images are read, people estimated, results written, and smoothed on the way."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mspn.cli.output_options import Smoothing
from mspn.cli.printing import echo
from mspn.cli.progress import Tally, show_progress
from mspn.errors import InvalidValueError
from mspn.interrupts import StopRequest
from mspn.io.limits import InputLimits
from mspn.outputs import Writer
from mspn.outputs.choice import PeopleChooser, PeopleSettings
from mspn.outputs.journal import Journal, JournalReader
from mspn.outputs.whole_tracks import SmoothedPoses
from mspn.predict.estimator import OnlineSmoother
from mspn.predict.pipeline import ImageResult, predict_images
from mspn.predict.top_down import TopDown
from mspn.sources import name_source, open_source
from mspn.sources.resolve import Source
from mspn.structures.image import Image, SourceFailure

NumberedSource = tuple[int, Source | SourceFailure]
"""With its place in the whole run."""


@dataclass(frozen=True, eq=False)
class PredictionRun:
    """What one run of `mspn predict` reads and estimates."""

    top_down: TopDown
    sources: Iterable[NumberedSource]
    """May be an iterator; then they are listed before whole tracks are smoothed."""
    num_images: int | None
    """None if unknown."""
    limits: InputLimits
    detect_every: int
    track: bool
    people: PeopleSettings
    """Who is written."""
    drawn: Path | None
    """Folder of drawn images if anything is drawn."""
    stop: StopRequest

    def write(
        self,
        journal: Journal,
        reopen: Callable[[], Journal],
        make_writers: Sequence[Callable[[], Writer]],
        smoothing: Smoothing,
    ) -> Tally:
        """Write results as they arrive; what is written stays if the run ends early.

        The journal has everybody as the network saw them, so that --resume can choose and smooth otherwise. To smooth
        whole tracks, a first pass fills the journal and a second one, which estimates nobody, writes.

        Args:
            journal: of the run so far.
            reopen: gives the same journal with what was done since.
            make_writers: make a writer each.
            smoothing: of people in videos.

        Raises:
            InvalidValueError: if whole tracks of a camera are to be smoothed, or a source is in the folder `drawn`.
        """
        if smoothing is not Smoothing.OFFLINE:
            smooth = OnlineSmoother().smooth if smoothing is Smoothing.ONLINE else _keep
            return self._write(self._estimate(journal), smooth, make_writers, journal)
        both = replace(self, sources=list(self.sources))
        first = replace(both, drawn=None)
        tally = first._write(first._estimate(journal), _refuse_cameras, (), journal)
        if not self.stop.signal_number:
            with reopen() as whole:
                smoothed = SmoothedPoses(JournalReader(whole.path.parent))
                results = predict_images(
                    self.top_down,
                    both._read(whole),
                    lookup=smoothed.lookup,
                    keep_pixels=self.drawn is not None,
                    is_over=self._is_over,
                )
                both._write(results, _without_problems, make_writers, whole)
        return tally

    def _estimate(self, journal: Journal) -> Generator[ImageResult, None, None]:
        return predict_images(
            self.top_down,
            self._read(journal),
            detect_every=self.detect_every,
            track=self.track,
            lookup=journal.lookup,
            keep_pixels=self.drawn is not None,
            is_over=self._is_over,
        )

    def _is_over(self) -> bool:
        return self.stop.signal_number != 0

    def _read(self, journal: Journal) -> Iterator[Image | SourceFailure]:
        """Open the sources; images that are done are read again only if they are to be drawn."""
        for number, source in self.sources:
            if self.drawn and isinstance(source, Path) and source.resolve().is_relative_to(self.drawn.resolve()):
                raise InvalidValueError(
                    f"drawn images would go to {self.drawn}, which holds {source.name}; choose another --out"
                )
            journal.begin_source(name_source(source), number)
            done = None if self.drawn else journal.cached_image(name_source(source))
            yield from [done] if done else open_source(source, self.limits)

    def _write(
        self,
        results: Generator[ImageResult, None, None],
        change: Callable[[ImageResult], ImageResult],
        make_writers: Sequence[Callable[[], Writer]],
        journal: Journal,
    ) -> Tally:
        """Write what `change` makes of the results, of the people who are wanted; note the results themselves."""
        tally, chooser = Tally(), PeopleChooser(self.people)
        with ExitStack() as stack:
            writers = [stack.enter_context(closing(make())) for make in make_writers]
            advance = stack.enter_context(show_progress(self.num_images, self.stop))
            stack.enter_context(closing(results))
            with suppress(KeyboardInterrupt):  # a second Ctrl-C: do not wait for images in flight
                for result in results:
                    chosen = chooser.choose(change(result))
                    for problem in chosen.problems:
                        echo(f"skipped: {problem}", err=True)
                    for writer in writers:
                        writer.write(chosen)
                    journal.append(result)
                    tally.count(chosen)
                    advance(result)
        return tally


def _keep(result: ImageResult) -> ImageResult:
    return result


def _refuse_cameras(result: ImageResult) -> ImageResult:
    if result.image and result.image.frame and result.image.frame.video.is_live:
        raise InvalidValueError(
            f"{result.source} has no end, so that its tracks are never whole; smooth them by --smooth online"
        )
    return result


def _without_problems(result: ImageResult) -> ImageResult:
    """Those of the first pass are said already."""
    return replace(result, problems=[])
