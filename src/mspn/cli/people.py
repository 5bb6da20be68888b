"""Options of which people are written."""

import math
from collections.abc import Callable
from enum import Enum
from typing import Annotated, TypeVar

import typer

from mspn.cli.printing import fail
from mspn.outputs.choice import PeopleSettings
from mspn.structures.boxes import Box

Number = TypeVar("Number", int, float)


class ChosenBy(str, Enum):
    """Which people --people writes."""

    SIZE = "size"
    CENTER = "center"


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
