"""Draw labels on their images, and contact sheets of labeled people and of corrections."""

import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mspn.errors import ImageError
from mspn.io.images import read_image, write_jpeg
from mspn.labels.corrections import Correction, correct_person
from mspn.labels.label_set import LabeledPerson, LabeledSet, box_around
from mspn.labels.label_table import Finding
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import cut_crop, frame_from_box, transform_points
from mspn.structures.shapes import UInt8
from mspn.structures.skeleton import Skeleton
from mspn.visualize.contact_sheet import arrange_tiles, join_panels
from mspn.visualize.draw import draw_box, draw_labels, line_thickness

TILE = Size(height=200, width=160)
MAX_PEOPLE_PER_SHEET = 100
_COLUMNS = 10
_PADDING = (1.25, 1.25)
_MAX_COORDINATE_PX = 1e6
_CHARACTERS_PER_LINE = 26


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
    is_near = np.all(abs(np.nan_to_num(keypoints, nan=np.inf)) < _MAX_COORDINATE_PX, axis=1)
    has_box = person.box is not None and all(abs(value) < _MAX_COORDINATE_PX for value in person.box)
    return replace(
        person, keypoints_image=np.where(is_near[:, None], keypoints, 0), box=person.box if has_box else None
    )


def make_contact_sheet(
    tiles: Sequence[UInt8[np.ndarray, "h w 3"]], captions: Sequence[str]
) -> UInt8[np.ndarray, "H W 3"]:
    """Lay tiles of one size out in rows of ten, each with its caption below."""
    wrapped = [textwrap.wrap(caption, _CHARACTERS_PER_LINE) for caption in captions]
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
    """All people, captioned with their ids."""
    return [Shown(person, str(person.id)) for person in labels.people]


def show_findings(labels: LabeledSet, findings: Sequence[Finding]) -> list[Shown]:
    """The people that findings are about, with the findings' messages.

    A finding about an image concerns everybody in it; one about the set concerns everybody.
    """
    messages: dict[tuple[int | None, int | None], list[str]] = defaultdict(list)
    for finding in findings:
        messages[finding.image_id, finding.person_id].append(finding.message)
    shown = []
    for person in labels.people:
        keys = ((person.image_id, person.id), (person.image_id, None), (None, None))
        about = [message for key in keys for message in messages.get(key, ())]
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
    by_image: dict[int, list[LabeledPerson]] = defaultdict(list)
    for person in labels.people:
        by_image[person.image_id].append(person)
    to_draw: dict[int, list[Shown]] = defaultdict(list)
    for person_shown in shown:
        to_draw[person_shown.person.image_id].append(person_shown)
    sheets = _ContactSheetWriter(out / SHEETS / "sheet", MAX_PEOPLE_PER_SHEET, make_contact_sheet)
    for number, shown_here in to_draw.items():
        if number not in entries:
            yield f"image {number} of person {shown_here[0].person.id} is not in the labels"
            continue
        entry = entries[number]
        try:
            image = read_image(images / entry.file_name)
        except (ImageError, OSError) as error:
            yield str(error)
            continue
        drawn = _draw_everyone(image, labels.skeleton, by_image[number])
        # The id keeps images of the same name in several folders apart; the folders are not followed.
        write_jpeg(out / IMAGES / f"{Path(entry.file_name).stem}-{number}.jpg", drawn)
        for person_shown in shown_here:
            tile = draw_tile(image, labels.skeleton, make_drawable(person_shown.person))
            sheets.add(tile, person_shown.caption)
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


class _ContactSheetWriter:
    """Collects tiles with captions and writes a contact sheet whenever it is full."""

    def __init__(
        self,
        stem: Path,
        max_tiles: int,
        arrange: Callable[[Sequence[UInt8[np.ndarray, "h w 3"]], Sequence[str]], UInt8[np.ndarray, "H W 3"]],
    ) -> None:
        self._stem = stem
        self._max_tiles = max_tiles
        self._arrange = arrange
        self._num_written = 0
        self._tiles: list[UInt8[np.ndarray, "h w 3"]] = []
        self._captions: list[str] = []

    def add(self, tile: UInt8[np.ndarray, "h w 3"], caption: str) -> None:
        self._tiles.append(tile)
        self._captions.append(caption)
        if len(self._tiles) == self._max_tiles:
            self.write()

    def write(self) -> None:
        """Write the tiles collected so far, if there are any."""
        if not self._tiles:
            return
        self._num_written += 1
        sheet = self._arrange(self._tiles, self._captions)
        write_jpeg(self._stem.with_name(f"{self._stem.name}-{self._num_written:03d}.jpg"), sheet)
        self._tiles, self._captions = [], []


MAX_CORRECTIONS_PER_SHEET = 30
_CORRECTION_COLUMNS = 3
_CORRECTION_PANEL = Size(height=256, width=192)
_CORRECTION_PADDING = (1.1, 1.1)
_CORRECTION_LINE_CHARACTERS = 76
_NUM_CORRECTION_LINES = 3
_KINDS = ("swapped", "reversed", "misplaced")
_HEADINGS = (
    "The image, the labels, the labels as corrected; delete the entry of whoever was right in corrections.json",
    "left orange, right blue; below: the person's id, and why",
)


def draw_corrections(
    labels: LabeledSet, corrections: Mapping[int, Correction], images: Path, out: Path
) -> Iterator[str | None]:
    """Draw proposed corrections on contact sheets of thirty people, each kind on sheets of its own.

    The kinds are swapped sides, limbs labeled from the wrong end, and misplaced keypoints. A tile shows the image, the
    labels, and the labels as corrected.

    Args:
        labels: as they are.
        corrections: by the person's id.
        images: folder of the images.
        out: folder of the contact sheets.

    Yields:
        None for each person who was drawn, a message for each who could not be.

    Raises:
        OSError: if a sheet cannot be written.
    """
    entries = {entry.id: entry for entry in labels.images}
    sheets = {kind: _ContactSheetWriter(out / kind, MAX_CORRECTIONS_PER_SHEET, _arrange_corrections) for kind in _KINDS}
    for person in labels.people:
        correction = corrections.get(person.id)
        if correction is None:
            continue
        try:
            image = read_image(images / entries[person.image_id].file_name)
        except (ImageError, OSError) as error:
            yield str(error)
            continue
        tile = _draw_correction(image, labels.skeleton, person, correction)
        sheets[_kind(correction, labels.skeleton)].add(tile, "")
        yield None
    for sheet in sheets.values():
        sheet.write()


def _arrange_corrections(
    tiles: Sequence[UInt8[np.ndarray, "h w 3"]], _captions: Sequence[str]
) -> UInt8[np.ndarray, "H W 3"]:
    return arrange_tiles(tiles, _HEADINGS, columns=_CORRECTION_COLUMNS)


def _kind(correction: Correction, skeleton: Skeleton) -> str:
    if set(correction.swap) & set(skeleton.mirrored_pairs):
        return "swapped"
    return "reversed" if correction.swap else "misplaced"


def _draw_correction(
    image: UInt8[np.ndarray, "H W 3"], skeleton: Skeleton, person: LabeledPerson, correction: Correction
) -> UInt8[np.ndarray, "h w 3"]:
    person = make_drawable(person)
    frame = frame_from_box(region_around(person, Size(*image.shape[:2])), _CORRECTION_PANEL, _CORRECTION_PADDING)
    crop = cut_crop(image, frame)
    panels = [crop]
    for shown in (person, correct_person(person, correction, skeleton)):
        keypoints = shown.keypoints_image.copy()
        keypoints[:, :2] = transform_points(keypoints[:, :2], frame.image_to_crop)
        panels.append(draw_labels(crop, keypoints, skeleton, thickness=2))
    lines = textwrap.wrap(f"{person.id}: {correction.reason}", _CORRECTION_LINE_CHARACTERS)[:_NUM_CORRECTION_LINES]
    return join_panels(panels, lines + [""] * (_NUM_CORRECTION_LINES - len(lines)))
