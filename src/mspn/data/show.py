"""Drawing labels: whole pictures, and contact sheets of people."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mspn.data.checks.findings import Finding
from mspn.data.labels import LabelledPerson, LabelledSet
from mspn.data.sheets import PEOPLE_PER_SHEET, draw_tile, make_drawable, make_sheet, region_around
from mspn.draw import draw_box, draw_labels, line_thickness
from mspn.images import PictureError, read_picture
from mspn.jpeg import write_jpeg
from mspn.records import Size
from mspn.skeleton import Skeleton

PICTURES, SHEETS = "pictures", "sheets"
"""Folders of what is drawn."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A person to draw, and what to write below."""

    person: LabelledPerson
    caption: str


def show_everyone(labels: LabelledSet) -> list[Shown]:
    """Everybody, with their ids."""
    return [Shown(person, str(person.id)) for person in labels.people]


def show_findings(labels: LabelledSet, findings: Sequence[Finding]) -> list[Shown]:
    """The people whom findings are about, with the findings' words.

    A finding about a picture is about everybody there, one about the set about all.
    """
    words: dict[tuple[int | None, int | None], list[str]] = defaultdict(list)
    for finding in findings:
        words[finding.picture_id, finding.person_id].append(finding.words)
    shown = []
    for person in labels.people:
        places = ((person.picture_id, person.id), (person.picture_id, None), (None, None))
        about = [text for place in places for text in words.get(place, ())]
        if about:
            shown.append(Shown(person, f"{person.id}: {'; '.join(about)}"))
    return shown


def draw_set(labels: LabelledSet, images: Path, shown: Sequence[Shown], out: Path) -> Iterator[str | None]:
    """Draw people onto sheets of a hundred, and their pictures with everybody in them.

    Yields:
        None for each picture that was drawn, a line about each that could not be.

    Raises:
        OSError: if the results cannot be written.
    """
    pictures = {picture.id: picture for picture in labels.pictures}
    together: dict[int, list[LabelledPerson]] = defaultdict(list)
    for person in labels.people:
        together[person.picture_id].append(person)
    wanted: dict[int, list[Shown]] = defaultdict(list)
    for one in shown:
        wanted[one.person.picture_id].append(one)
    sheets = _SheetWriter(out / SHEETS)
    for number, here in wanted.items():
        if number not in pictures:
            yield f"picture {number} of person {here[0].person.id} is not in the labels"
            continue
        picture = pictures[number]
        try:
            image = read_picture(images / picture.file_name)
        except (PictureError, OSError) as error:
            yield str(error)
            continue
        drawn = _draw_everyone(image, labels.skeleton, together[number])
        # The id keeps pictures of the same name in several folders apart; the folders are not followed.
        write_jpeg(out / PICTURES / f"{Path(picture.file_name).stem}-{number}.jpg", drawn)
        for one in here:
            sheets.add(draw_tile(image, labels.skeleton, make_drawable(one.person)), one.caption)
        yield None
    sheets.write()


def _draw_everyone(
    image: UInt8[np.ndarray, "H W 3"], skeleton: Skeleton, people: Sequence[LabelledPerson]
) -> UInt8[np.ndarray, "H W 3"]:
    size = Size(*image.shape[:2])
    for person in map(make_drawable, people):
        region = region_around(person, size)
        thickness = line_thickness(min(max(region.width, region.height), max(size)))
        if person.box is not None:
            image = draw_box(image, person.box)
        image = draw_labels(image, person.keypoints_image, skeleton, thickness=thickness)
    return image


class _SheetWriter:
    """Collects tiles and writes a sheet whenever one is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._num_written = 0
        self._tiles: list[UInt8[np.ndarray, "h w 3"]] = []
        self._captions: list[str] = []

    def add(self, tile: UInt8[np.ndarray, "h w 3"], caption: str) -> None:
        self._tiles.append(tile)
        self._captions.append(caption)
        if len(self._tiles) == PEOPLE_PER_SHEET:
            self.write()

    def write(self) -> None:
        """Write what has come together, if anything."""
        if not self._tiles:
            return
        self._num_written += 1
        sheet = make_sheet(self._tiles, self._captions)
        write_jpeg(self._folder / f"sheet-{self._num_written:03d}.jpg", sheet)
        self._tiles, self._captions = [], []
