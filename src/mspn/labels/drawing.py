"""Draw labels on their images, and contact sheets of labeled people."""

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mspn.errors import ImageError
from mspn.io.images import read_image, write_jpeg
from mspn.labels.checks.findings import Finding
from mspn.labels.label_set import LabeledPerson, LabeledSet, box_around
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import cut_crop, frame_from_box, transform_points
from mspn.structures.skeleton import Skeleton
from mspn.visualize.contact_sheet import arrange_tiles, join_panels
from mspn.visualize.draw import draw_box, draw_labels, line_thickness

TILE = Size(height=200, width=160)
PEOPLE_PER_SHEET = 100
_COLUMNS = 10
_PADDING = (1.25, 1.25)
_MAX_PX = 1e6
_LETTERS_PER_LINE = 26


def draw_tile(
    image: UInt8[np.ndarray, "H W 3"], skeleton: Skeleton, person: LabeledPerson
) -> UInt8[np.ndarray, "h w 3"]:
    """Cut a person out, with box and keypoints drawn on; the whole image where there is nothing to cut around.

    Args:
        image: RGB.
        skeleton: of the keypoints.
        person: as `make_drawable` gives it.
    """
    frame = frame_from_box(region_around(person, Size(*image.shape[:2])), TILE, _PADDING)
    keypoints = person.keypoints_image.copy()
    keypoints[:, :2] = transform_points(keypoints[:, :2], frame.image_to_crop)
    tile = cut_crop(image, frame)
    if person.box is not None:
        left, top = transform_points(np.array(person.box[:2]), frame.image_to_crop).tolist()
        scale = TILE.width / frame.width_image
        tile = draw_box(tile, Box(left, top, person.box.width * scale, person.box.height * scale))
    return draw_labels(tile, keypoints, skeleton, thickness=1)


def make_drawable(person: LabeledPerson) -> LabeledPerson:
    """The person without a box or keypoints at no finite position, or a million pixels away."""
    keypoints = person.keypoints_image
    is_near = np.all(abs(np.nan_to_num(keypoints, nan=np.inf)) < _MAX_PX, axis=1)
    has_box = person.box is not None and all(abs(value) < _MAX_PX for value in person.box)
    return replace(
        person, keypoints_image=np.where(is_near[:, None], keypoints, 0), box=person.box if has_box else None
    )


def make_sheet(tiles: Sequence[UInt8[np.ndarray, "h w 3"]], captions: Sequence[str]) -> UInt8[np.ndarray, "H W 3"]:
    """Lay tiles of one size out in rows of ten, each with its caption below."""
    wrapped = [textwrap.wrap(caption, _LETTERS_PER_LINE) for caption in captions]
    num_lines = max(map(len, wrapped))
    panels = [
        join_panels([tile], lines + [""] * (num_lines - len(lines))) for tile, lines in zip(tiles, wrapped, strict=True)
    ]
    return arrange_tiles(panels, [], columns=_COLUMNS)


def region_around(person: LabeledPerson, image: Size) -> Box:
    """Around box and keypoints, wherever they are; the whole image where there is neither."""
    around = box_around(person.keypoints_image)
    boxes = [box for box in (person.box, around) if box is not None and min(box[2:]) > 0]
    if not boxes:
        return Box(0, 0, image.width, image.height)
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right, bottom = max(box.left + box.width for box in boxes), max(box.top + box.height for box in boxes)
    return Box(left, top, right - left, bottom - top)


IMAGES, SHEETS = "images", "sheets"
"""Folders of what is drawn."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A person to draw, and what to write below."""

    person: LabeledPerson
    caption: str


def show_everyone(labels: LabeledSet) -> list[Shown]:
    """Everybody, with their ids."""
    return [Shown(person, str(person.id)) for person in labels.people]


def show_findings(labels: LabeledSet, findings: Sequence[Finding]) -> list[Shown]:
    """The people whom findings are about, with the findings' words.

    A finding about an image is about everybody there, one about the set about all.
    """
    words: dict[tuple[int | None, int | None], list[str]] = defaultdict(list)
    for finding in findings:
        words[finding.image_id, finding.person_id].append(finding.words)
    shown = []
    for person in labels.people:
        places = ((person.image_id, person.id), (person.image_id, None), (None, None))
        about = [text for place in places for text in words.get(place, ())]
        if about:
            shown.append(Shown(person, f"{person.id}: {'; '.join(about)}"))
    return shown


def draw_set(labels: LabeledSet, images: Path, shown: Sequence[Shown], out: Path) -> Iterator[str | None]:
    """Draw people onto sheets of a hundred, and their images with everybody in them.

    Yields:
        None for each image that was drawn, a line about each that could not be.

    Raises:
        OSError: if the results cannot be written.
    """
    entries = {entry.id: entry for entry in labels.images}
    together: dict[int, list[LabeledPerson]] = defaultdict(list)
    for person in labels.people:
        together[person.image_id].append(person)
    wanted: dict[int, list[Shown]] = defaultdict(list)
    for one in shown:
        wanted[one.person.image_id].append(one)
    sheets = _SheetWriter(out / SHEETS)
    for number, here in wanted.items():
        if number not in entries:
            yield f"image {number} of person {here[0].person.id} is not in the labels"
            continue
        entry = entries[number]
        try:
            image = read_image(images / entry.file_name)
        except (ImageError, OSError) as error:
            yield str(error)
            continue
        drawn = _draw_everyone(image, labels.skeleton, together[number])
        # The id keeps images of the same name in several folders apart; the folders are not followed.
        write_jpeg(out / IMAGES / f"{Path(entry.file_name).stem}-{number}.jpg", drawn)
        for one in here:
            sheets.add(draw_tile(image, labels.skeleton, make_drawable(one.person)), one.caption)
        yield None
    sheets.write()


def _draw_everyone(
    image: UInt8[np.ndarray, "H W 3"], skeleton: Skeleton, people: Sequence[LabeledPerson]
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
