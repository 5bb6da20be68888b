"""Options that several commands share: networks, and what is written of which people in which formats."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from mspn.checkpoints.hub import find_weights
from mspn.checkpoints.index import Report
from mspn.cli.printing import SafeConsole, echo, fail
from mspn.config.recipe import Recipe, override
from mspn.detectors import DEFAULT, EMBEDDED, NONE, resolve_default
from mspn.detectors.base import MAX_SIDE, Detector, FullImage
from mspn.detectors.onnx import ExportedPersonDetector
from mspn.detectors.slices import MAX_SLICES
from mspn.errors import ExportError
from mspn.inference.devices import Precision
from mspn.inference.exported import ExportedModel, RunWanted, load_exported, load_pose_model
from mspn.inference.exported_files import DetectorExportMetadata, open_file
from mspn.outputs import WRITERS
from mspn.outputs.choice import PeopleSettings
from mspn.structures.boxes import Box

if TYPE_CHECKING:
    from mspn.checkpoints.format import Checkpoint


class PrecisionName(str, Enum):
    """What the network computes with."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


class EngineName(str, Enum):
    """What computes the network."""

    AUTO = "auto"
    TORCH = "torch"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


ModelsOption = Annotated[
    list[str],
    typer.Option(
        "--model",
        help="Name of a model, a weights file, or an exported one. Given several times, heat maps are averaged.",
    ),
]
WeightsOption = Annotated[
    list[float] | None,
    typer.Option(
        "--weight", "--ensemble-weight", help="How much a model counts: once for each --model, in their order."
    ),
]
DetectorOption = Annotated[
    str,
    typer.Option(
        help="Person detector: default (embedded), none (each image is one person), FILE.safetensors, FILE.onnx,"
        " FAMILY:FILE.onnx, transformers:NAME or package.module:Class; see docs/detectors.md."
    ),
]
DetectorSizeOption = Annotated[
    int | None,
    typer.Option(
        min=32, max=MAX_SIDE, help="Pixels of the longer side that the detector sees images at; more for crowds."
    ),
]
DetectorSlicesOption = Annotated[
    int,
    typer.Option(
        min=1, max=MAX_SLICES, help="Slices along the longer side of large images to look for small people in, too."
    ),
]
ThresholdOption = Annotated[float, typer.Option(min=0, max=1, help="Detections with a lower score are dropped.")]
DetectEveryOption = Annotated[
    int, typer.Option(min=1, help="Run the detector on every Nth video frame; propagate boxes in between.")
]
TrackOption = Annotated[
    bool, typer.Option("--track/--no-track", help="Give the people of videos ids that stay from frame to frame.")
]
StretchOption = Annotated[
    bool, typer.Option("--stretch", help="Make the largest value of a 16-bit image white, as for 12-bit cameras.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
PrecisionOption = Annotated[
    PrecisionName,
    typer.Option(
        help="auto: bfloat16 where the processor computes with it. int8: on CPUs, weights of `mspn models quantize`."
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        help="auto: torch, for int8 openvino where it is installed, else onnxruntime; `mspn predict` takes what"
        " `mspn models prepare` made. openvino is the fastest on CPUs, and starts some seconds later."
    ),
]
FlipOption = Annotated[
    bool | None,
    typer.Option("--flip/--no-flip", help="Average with the mirrored crop, or do not; by default as the weights ask."),
]
BatchOption = Annotated[
    int, typer.Option("--batch", "--batch-size", min=1, help="People that the network sees at once.")
]


class BoxSelectionName(str, Enum):
    """Which boxes of a file are used."""

    PEOPLE = "people"
    TOP_100 = "top-100"


class ProtocolName(str, Enum):
    """Named test settings."""

    FAITHFUL = "faithful"
    MMPOSE = "mmpose"


BoxSelectionOption = Annotated[
    BoxSelectionName,
    typer.Option(help="All people of --boxes, or those among the best 100 boxes of all categories (paper)."),
]


ProtocolOption = Annotated[
    ProtocolName | None, typer.Option(help="Padding, filter and decoder; without it those of the weights.")
]


ProtocolSettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a switch of the protocol, e.g. test.blur_kernel=1."),
]


def refuse_unused(context: typer.Context, names: Iterable[str], reason: str) -> None:
    """End with exit code 2 if an option was given that the command would not use, even with its default value.

    Args:
        context: of the command.
        names: the function's parameters.
        reason: what follows the option's name in the message.
    """
    unused = set(names)
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in unused and source is not None and source.name != "DEFAULT":
            fail(f"{parameter.opts[0]} {reason}")


def find_with_bar(model: str) -> Path:
    """The weights file of a model, as `find_weights`, with a progress bar if it has to be downloaded."""
    with download_bar(model) as report:
        return find_weights(model, report)


@contextmanager
def download_bar(name: str) -> Iterator[Report]:
    """A progress bar that appears with the first bytes."""
    console = SafeConsole(stderr=True)
    columns = (TextColumn("downloading {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def load_with_test_settings(
    models: Sequence[str], protocol: str | None, settings: Sequence[str], precision: Precision
) -> "list[Checkpoint | ExportedModel]":
    """Load networks by name or file, with test settings that replace their own.

    Args:
        models: names or weights files; published ones are downloaded, with a bar.
        protocol: named test settings; None keeps those of the weights.
        settings: "test.NAME=VALUE", each changing one of them.
        precision: that exported ones compute with.
    """
    changes = [*([f"test={protocol}"] if protocol else []), *settings]
    checkpoints: list[Checkpoint | ExportedModel] = []
    for model in models:
        checkpoint = load_pose_model(find_with_bar(model), precision)
        metadata = checkpoint.metadata.model_copy(update={"recipe": change_test(checkpoint.metadata.recipe, changes)})
        checkpoints.append(dataclasses.replace(checkpoint, metadata=metadata))
    return checkpoints


class PreparedNetworks(NamedTuple):
    """Exported networks that run without torch, in place of weights."""

    models: "list[Checkpoint | ExportedModel]"
    """One."""
    detector: Detector


def open_prepared(models: Sequence[str], detector: str, wanted: RunWanted) -> PreparedNetworks | None:
    """What `mspn models prepare` made of a network and its detector; None if that is not there, or not to be used.

    Of a file that cannot be opened a line is printed.

    Args:
        models: names or weights files; heat maps of several are averaged, which prepared ones do not give.
        detector: as `make_detector` takes it.
        wanted: how they are to run.

    Raises:
        WeightsError: as `find_weights`.
        DetectorError: as `resolve_default`.
    """
    file = wanted.find_prepared(find_with_bar(models[0])) if len(models) == 1 else None
    if file is None:
        return None
    try:
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load_exported, file, wanted.precision)
            # Both at once, since runtimes compile without Python's lock.
            found = wanted.find_prepared(find_weights(EMBEDDED)) if detector in (DEFAULT, EMBEDDED) else None
            opened = open_file(found, "auto") if found else None
            exported = loading.result()
        name = resolve_default(detector, exported.metadata.recipe)
        if name == NONE:
            return PreparedNetworks([exported], FullImage())
        if opened is None or name != EMBEDDED:
            return None
    except ExportError as error:
        echo(f"{error}; `mspn models prepare` makes it again, and torch runs the weights until then", err=True)
        return None
    Thread(target=exported.network.warm_up).start()  # while the detector looks at the first image
    assert isinstance(opened.metadata, DetectorExportMetadata)
    return PreparedNetworks([exported], ExportedPersonDetector(opened, opened.metadata))


def change_test(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """A recipe with other test settings; other settings are refused, because they belong to training."""
    for setting in settings:
        if not setting.strip().startswith(("test.", "test=")):
            fail(f"--set {setting}: only test settings can be changed here, for example test.blur_kernel=1")
    return override(recipe, settings)


def changes_suppression(settings: Sequence[str]) -> bool:
    """Whether a setting changes the suppression of duplicate poses."""
    return any(setting.partition("=")[0].strip() == "test.suppression_oks" for setting in settings)


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """The network that --allow-network names; anything else ends the command."""
    try:
        return ip_network(text)
    except ValueError as error:
        fail(f"--allow-network {text}: {error}; write one such as 192.168.1.0/24, or an address")


Number = TypeVar("Number", int, float)


class ChosenBy(str, Enum):
    """Which people --people writes."""

    SIZE = "size"
    CENTER = "center"


class Smoothing(str, Enum):
    """What --smooth does to the keypoints of people in videos."""

    NONE = "none"
    ONLINE = "online"
    OFFLINE = "offline"


SmoothOption = Annotated[
    Smoothing,
    typer.Option(
        help="Smooth the keypoints of people in videos: online while frames arrive, offline over whole tracks, without"
        " lag, once the video is done."
    ),
]
PeopleOption = Annotated[
    int | None, typer.Option(min=1, help="Write at most so many people of an image; in a video always the same.")
]
PeopleByOption = Annotated[
    ChosenBy, typer.Option(help="Which people: the largest, or those nearest to the middle of the image.")
]
TrackIdsOption = Annotated[str | None, typer.Option(metavar="3,7", help="Write only these tracks of videos.")]
RegionOption = Annotated[
    str | None,
    typer.Option(metavar="LEFT,TOP,WIDTH,HEIGHT", help="Write only people in this box, in image pixels."),
]


ImageIdsOption = Annotated[
    Path | None,
    typer.Option("--annotations", help="Label file whose image ids coco.json takes, by file name."),
]
ShardOption = Annotated[
    str | None,
    typer.Option(metavar="N/COUNT", help="Predict one of several parts, e.g. 3/16; `mspn merge` joins them."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Remove the results of earlier runs in --out first.")
]


def parse_people(people: int | None, people_by: ChosenBy, track_ids: str | None, region: str | None) -> PeopleSettings:
    """Whom the options ask for; what they cannot mean ends the command."""
    return PeopleSettings(
        num_people=people,
        chosen_by=people_by.value,
        track_ids=_parse_numbers("--track-ids", track_ids, int) if track_ids else (),
        region=_parse_region(region) if region else None,
    )


def _parse_region(text: str) -> Box:
    numbers = _parse_numbers("--region", text, float)
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)) or min(numbers[2:]) <= 0:
        fail(f"--region {text}: write left,top,width,height in pixels, width and height above 0")
    return Box(*numbers)


def _parse_numbers(option: str, text: str, kind: Callable[[str], Number]) -> tuple[Number, ...]:
    try:
        return tuple(map(kind, text.split(",")))
    except ValueError:
        fail(f"{option} {text}: write numbers with commas between them")


def parse_writers(save: str) -> list[str]:
    """Names of writers, each once, from what --save says."""
    names = list(dict.fromkeys(name.strip() for name in save.split(",")))
    for name in names:
        if name not in WRITERS:
            fail(f"--save {name!r}: there are {', '.join(WRITERS)}")
    return names
