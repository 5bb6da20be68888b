"""Options of what is written: which people, how smooth, and in which formats."""

import math
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from mspn.cli.printing import fail
from mspn.outputs import WRITERS
from mspn.outputs.choice import PeopleSettings
from mspn.structures.boxes import Box

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
