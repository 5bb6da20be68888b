"""mspn batch: keypoints of very many images and videos, on one machine or a cluster."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TextColumn

from mspn.cli.options import (
    BatchOption,
    DetectEveryOption,
    DetectorOption,
    DetectorSizeOption,
    DetectorSlicesOption,
    DeviceOption,
    EngineName,
    EngineOption,
    FlipOption,
    ModelsOption,
    OverwriteOption,
    PrecisionName,
    PrecisionOption,
    ProtocolOption,
    ProtocolSettingsOption,
    StretchOption,
    ThresholdOption,
    TrackOption,
    WeightsOption,
    changes_suppression,
    load_with_test_settings,
    parse_network,
)
from mspn.cli.printing import KILLED, SOME_FAILED, echo, fail, one_line_errors
from mspn.cli.progress import describe_totals, show_totals
from mspn.config.protocol import PREDICTION_SUPPRESSION_OKS
from mspn.inference.devices import keep_freed_memory
from mspn.io.files import locked_folder
from mspn.io.limits import InputLimits, scheme_of
from mspn.outputs import SHARD_SETTING
from mspn.predict.estimator import PoseEstimator, describe_settings
from mspn.sources.resolve import WHOLE, Shard


def batch_command(
    sources: Annotated[list[str], typer.Argument(help="Images, videos, folders, patterns, addresses.")],
    out: Annotated[str, typer.Option(help="Folder for the results, or its address.")],
    models: ModelsOption = ["default"],  # noqa: B006 (typer copies it)
    weights: WeightsOption = None,
    detector: DetectorOption = "default",
    detector_size: DetectorSizeOption = None,
    detector_slices: DetectorSlicesOption = 1,
    threshold: ThresholdOption = 0.3,
    detect_every: DetectEveryOption = 1,
    track: TrackOption = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out; skip files that are done.")
    ] = False,
    overwrite: OverwriteOption = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="N/COUNT", help="Predict one of several parts, e.g. 3/16; all may have the same --out."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT; without it, this machine.")
    ] = None,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Processes that predict; by default as many as there is room for.")
    ] = None,
    cpus: Annotated[int, typer.Option("--cpus-per-actor", min=1, help="Cores, and threads, of each.")] = 1,
    gpus: Annotated[float, typer.Option("--gpus-per-actor", min=0, help="GPUs of each, such as 0.25.")] = 0.0,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Start Ray's dashboard, at http://127.0.0.1:8265.")
    ] = False,
    allow_networks: Annotated[
        list[str] | None,
        typer.Option("--allow-network", help="Private network that redirects may lead to, such as 192.168.1.0/24."),
    ] = None,
    stretch: StretchOption = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.AUTO,
    engine: EngineOption = EngineName.AUTO,
    batch: BatchOption = 32,
    flip: FlipOption = None,
    protocol: ProtocolOption = None,
    settings: ProtocolSettingsOption = None,
) -> None:
    """Find the keypoints of the people in very many images and videos, on one machine or many."""
    keep_freed_memory()
    if resume and overwrite:
        fail("--overwrite removes what --resume goes on with; give only one of the two")
    if address and dashboard:
        fail("--dashboard starts that of this machine's own Ray; a cluster at --address has one already")
    if not address:
        # Read when ray is imported: its processes then listen on the loopback interface alone, on any system.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    with one_line_errors():
        from mspn.batch.monitor import Progress  # noqa: PLC0415
        from mspn.batch.predictor import ReadSettings  # noqa: PLC0415
        from mspn.batch.run import (  # noqa: PLC0415
            ActorSettings,
            Run,
            run_batch,
        )
        from mspn.batch.table import Destination  # noqa: PLC0415

        part = Shard.parse(shard) if shard else WHOLE
        destination = Destination(out, part)
        checkpoints = load_with_test_settings(
            models, protocol.value if protocol else None, settings or [], precision.value
        )
        estimator = PoseEstimator(
            checkpoints,
            detector,
            detector_size=detector_size,
            detector_slices=detector_slices,
            device="cpu" if device == "auto" and not gpus else device,
            precision=precision.value,
            engine=engine.value,
            batch_size=batch,
            threshold=threshold,
            flip=flip,
            suppression_oks=None if changes_suppression(settings or []) else PREDICTION_SUPPRESSION_OKS,
            ensemble_weights=weights,
        )
        limits = InputLimits(
            allowed_networks=tuple(map(parse_network, allow_networks or ())),
            own_addresses=frozenset(sources),
            stretch=stretch,
            excluded_folders=() if scheme_of(out) else (Path(out),),
        )
        run = Run(
            sources,
            destination,
            estimator,
            describe_settings(estimator, models, detector, None)
            | {
                "detect_every": detect_every,
                "track": track,
                "stretch": stretch,
                SHARD_SETTING: str(part),
            },
            ReadSettings(limits=limits, detect_every=detect_every, track=track),
            ActorSettings(actors, cpus, gpus),
            part,
            address,
            dashboard,
            resume,
            overwrite,
        )
        shown = 0
        with ExitStack() as stack:
            if not scheme_of(out) and part == WHOLE:
                stack.enter_context(locked_folder(Path(out)))
            show_counts = stack.enter_context(show_totals(TextColumn("predicting")))

            def show(progress: Progress, total: int | None) -> None:
                nonlocal shown
                for problem in progress.problems[shown:]:
                    echo(f"skipped: {problem}", err=True)
                shown = len(progress.problems)
                show_counts(progress.num_images, progress.num_people, total)

            try:
                summary = run_batch(run, show, lambda line: echo(f"waiting: {line}", err=True))
            except KeyboardInterrupt:
                echo("stopped; what is written stays. Continue with the same command and --resume", err=True)
                raise typer.Exit(KILLED + 2) from None
    echo(describe_totals(summary.images, summary.people, summary.images_with_problems, summary.seconds))
    if summary.before.images:
        echo(f"with those of earlier runs: {summary.before.images + summary.images} images")
    echo(f"results: {destination.storage.name}")
    if summary.images_with_problems:
        raise typer.Exit(SOME_FAILED)
