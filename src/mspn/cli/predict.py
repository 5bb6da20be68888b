"""mspn predict: keypoints of the people in images and videos.

In a run, images are read, people estimated, results written, and smoothed on the way.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.options import (
    BatchOption,
    ChosenBy,
    DetectEveryOption,
    DetectorOption,
    DetectorSizeOption,
    DetectorSlicesOption,
    DeviceOption,
    EngineName,
    EngineOption,
    FlipOption,
    ImageIdsOption,
    ModelsOption,
    OverwriteOption,
    PeopleByOption,
    PeopleOption,
    PrecisionName,
    PrecisionOption,
    ProtocolOption,
    ProtocolSettingsOption,
    RegionOption,
    ShardOption,
    Smoothing,
    SmoothOption,
    StretchOption,
    ThresholdOption,
    TrackIdsOption,
    TrackOption,
    WeightsOption,
    changes_suppression,
    load_with_test_settings,
    open_prepared,
    parse_network,
    parse_people,
    parse_writers,
    refuse_unused,
)
from mspn.cli.printing import KILLED, SOME_FAILED, echo, one_line_errors
from mspn.cli.progress import Tally, show_progress
from mspn.config.protocol import PREDICTION_SUPPRESSION_OKS
from mspn.detectors import NONE
from mspn.detectors.base import Detector
from mspn.detectors.precomputed import open_boxes
from mspn.errors import InvalidValueError
from mspn.inference.devices import keep_freed_memory
from mspn.inference.exported import RunWanted
from mspn.interrupts import StopRequest, stop_requests
from mspn.io.files import locked_folder
from mspn.io.limits import InputLimits
from mspn.outputs import DRAWING_WRITERS, SHARD_SETTING, WRITERS, Writer, WriterSettings, make_writer, prepare_results
from mspn.outputs.annotations import find_image_ids, read_image_ids
from mspn.outputs.choice import PeopleChooser, PeopleSettings
from mspn.outputs.drawings import ImageWriter, VideoWriter
from mspn.outputs.journal import Journal, JournalReader
from mspn.outputs.names import common_folder
from mspn.outputs.whole_tracks import SmoothedPoses
from mspn.predict.estimator import OnlineSmoother, PoseEstimator, describe_settings
from mspn.predict.pipeline import ImageResult, predict_images
from mspn.predict.top_down import TopDown
from mspn.sources import count_images, name_source, open_source
from mspn.sources.resolve import WHOLE, Shard, Source, find_sources
from mspn.structures.image import Image, SourceFailure
from mspn.visualize.themes import THEMES, find_theme


def predict_command(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(help="Images, videos, folders, patterns, addresses, camera numbers, - for a list of them."),
    ],
    models: ModelsOption = ["default"],  # noqa: B006 (typer copies it)
    weights: WeightsOption = None,
    detector: DetectorOption = "default",
    detector_size: DetectorSizeOption = None,
    detector_slices: DetectorSlicesOption = 1,
    threshold: ThresholdOption = 0.3,
    boxes: Annotated[
        Path | None, typer.Option(help="Boxes file, or a folder of text files, in place of a detector.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="Whose boxes of --boxes to use: a category's name or id, instead of people's.")
    ] = None,
    detect_every: DetectEveryOption = 1,
    track: TrackOption = True,
    smooth: SmoothOption = Smoothing.NONE,
    people: PeopleOption = None,
    people_by: PeopleByOption = ChosenBy.SIZE,
    track_ids: TrackIdsOption = None,
    region: RegionOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("predictions"),
    save: Annotated[str, typer.Option(help=f"What to write, of {','.join(WRITERS)}.")] = "json",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out; skip images that are done.")
    ] = False,
    overwrite: OverwriteOption = False,
    shard: ShardOption = None,
    annotations: ImageIdsOption = None,
    allow_networks: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-network", help="Private network that lists and redirects may lead to, such as 192.168.1.0/24."
        ),
    ] = None,
    stretch: StretchOption = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.AUTO,
    engine: EngineOption = EngineName.AUTO,
    batch: BatchOption = 32,
    flip: FlipOption = None,
    protocol: ProtocolOption = None,
    settings: ProtocolSettingsOption = None,
    theme: Annotated[str, typer.Option(help=f"Colors of drawn images, of {', '.join(THEMES)}.")] = "sides",
) -> None:
    """Find the keypoints of the people in images and videos."""
    keep_freed_memory()
    with one_line_errors():
        chosen = parse_writers(save)
        chosen_theme = find_theme(theme)
        _refuse_unused_options(context, chosen, boxes, resume=resume)
        whom = parse_people(people, people_by, track_ids, region)
        part = Shard.parse(shard) if shard else WHOLE
        allowed = tuple(map(parse_network, allow_networks or ()))
        drawn, videos = out / ImageWriter.FOLDER, out / VideoWriter.FOLDER
        limits = InputLimits(
            allowed_networks=allowed,
            own_addresses=frozenset(sources),
            stretch=stretch,
            excluded_folders=(out, drawn, videos),
        )
        total = count_images(sources, limits, part)
        is_changed = bool(protocol or settings) or (flip, detector_size, detector_slices) != (None, None, 1)
        wanted = RunWanted(engine.value, precision.value, device, total, is_changed)
        prepared = open_prepared(models, NONE if boxes else detector, wanted)
        checkpoints = (
            prepared.models
            if prepared
            else load_with_test_settings(models, protocol and protocol.value, settings or [], precision.value)
        )
        chosen_detector: Detector | str = prepared.detector if prepared else detector
        if boxes:
            whose = category or checkpoints[0].metadata.recipe.keypoint_table.category_of_boxes
            # Standard input can be read only once.
            named = () if total is None else find_sources(sources, limits)
            chosen_detector = open_boxes(boxes, whose, [source for source in named if isinstance(source, Path)])
        image_ids = read_image_ids(annotations) if annotations else None
        estimator = PoseEstimator(
            checkpoints,
            chosen_detector,
            detector_size=detector_size,
            detector_slices=detector_slices,
            device=device,
            precision=precision.value,
            engine=engine.value,
            batch_size=batch,
            threshold=threshold,
            flip=flip,
            suppression_oks=None if changes_suppression(settings or []) else PREDICTION_SUPPRESSION_OKS,
            ensemble_weights=weights,
        )
        settings_of_run = describe_settings(estimator, models, None if boxes else detector, boxes) | {
            "category": category,
            "detect_every": detect_every,
            "track": track,
            "stretch": stretch,
            SHARD_SETTING: str(part),
        }
        with ExitStack() as stack:
            stack.enter_context(locked_folder(out))
            prepare_results(out, sources, chosen, resume=resume, overwrite=overwrite)
            skeleton = estimator.recipe.keypoint_table
            base = common_folder(sources)
            open_journal = partial(Journal, out, settings_of_run, skeleton, outputs=chosen, source_folder=base)
            journal = stack.enter_context(open_journal(resume=resume))
            stop = stack.enter_context(stop_requests(raise_on_second=True))
            if journal.num_done_before:
                echo(f"resuming: {journal.num_done_before} images are done", err=True)
            if image_ids is None and boxes and boxes.is_file() and "coco" in journal.outputs:
                image_ids = find_image_ids(boxes)
            writer_settings = WriterSettings(journal.source_folder, chosen_theme, image_ids, part)
            run = PredictionRun(
                estimator.top_down,
                part.take(enumerate(find_sources(sources, limits))),
                total,
                limits,
                detect_every=detect_every,
                track=track,
                people=whom,
                drawn=drawn if any(name in DRAWING_WRITERS for name in journal.outputs) else None,
                stop=stop,
            )
            tally = run.write(
                journal,
                partial(open_journal, resume=True),
                [partial(make_writer, name, out, writer_settings) for name in journal.outputs],
                smooth,
            )
    tally.show()
    echo(f"results: {out}")
    if "images" in journal.outputs:
        echo(f"drawn images: {drawn}")
    if "video" in journal.outputs and videos.is_dir():
        echo(f"drawn videos: {videos}")
    if stop.signal_number:
        echo("stopped; results so far are kept. Continue with the same command and --resume", err=True)
        raise typer.Exit(KILLED + stop.signal_number)
    if tally.num_with_problems:
        raise typer.Exit(SOME_FAILED)


def _refuse_unused_options(context: typer.Context, outputs: Sequence[str], boxes: Path | None, *, resume: bool) -> None:
    if boxes:
        refuse_unused(
            context,
            ["detector", "detector_size", "detector_slices"],
            "is not used with --boxes; give only one of the two",
        )
    if not boxes or boxes.is_dir():
        refuse_unused(context, ["category"], "is about a boxes file, --boxes FILE")
    if context.params["people"] is None:
        refuse_unused(context, ["people_by"], "says which people --people takes; give that too")
    if not context.params["track"]:
        refuse_unused(context, ["track_ids"], "chooses tracks, which --no-track leaves out; give only one of the two")
        refuse_unused(context, ["smooth"], "smooths tracks, which --no-track leaves out; give only one of the two")
    if resume:
        refuse_unused(context, ["overwrite"], "removes what --resume goes on with; give only one of the two")
    if "coco" not in outputs:
        refuse_unused(context, ["annotations"], "gives the image ids of coco.json; add coco to --save")
    if not any(name in DRAWING_WRITERS for name in outputs):
        refuse_unused(context, ["theme"], f"colors drawings; add {' or '.join(sorted(DRAWING_WRITERS))} to --save")


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
        unlogged: list[ImageResult] = []

        def keep_unlogged(result: ImageResult) -> ImageResult:
            if result.problems and result.image is not None:
                unlogged.append(result)
            return _refuse_cameras(result)

        tally = first._write(first._estimate(journal), keep_unlogged, (), journal)
        if not self.stop.signal_number:
            with reopen() as whole:
                smoothed = SmoothedPoses(JournalReader(whole.path.parent), unlogged)
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
