"""Sheets of the people whose labels are doubted: the image, the labels, and the labels as they would be corrected."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mspn.errors import ImageError
from mspn.io.images import read_image, write_jpeg
from mspn.labels.corrections import Correction, correct_person
from mspn.labels.drawing import make_drawable, region_around
from mspn.labels.label_set import LabeledPerson, LabeledSet
from mspn.structures.boxes import Size
from mspn.structures.crop import cut_crop, frame_from_box, transform_points
from mspn.structures.skeleton import Skeleton
from mspn.visualize.contact_sheet import arrange_tiles, join_panels
from mspn.visualize.draw import draw_labels

PEOPLE_PER_SHEET = 30
_COLUMNS = 3
_PANEL = Size(height=256, width=192)
_PADDING = (1.1, 1.1)
_THICKNESS = 2
_LETTERS_PER_LINE = 76
_LINES = 3
_KINDS = ("swapped", "reversed", "misplaced")
_HEADINGS = (
    "The image, the labels, the labels as corrected; delete the entry of whoever was right in corrections.json",
    "left orange, right blue; below: the person's id, and why",
)


def draw_suspect_labels(
    labels: LabeledSet, corrections: Mapping[int, Correction], images: Path, out: Path
) -> Iterator[str | None]:
    """Draw doubted people onto sheets of thirty, each kind of doubt onto sheets of its own.

    The kinds are swapped sides, limbs labeled from the wrong end, and misplaced keypoints.

    Args:
        labels: as they are.
        corrections: by the person's id.
        images: folder of the images.
        out: folder of the sheets.

    Yields:
        None for each person who was drawn, a line about each who could not be.

    Raises:
        OSError: if a sheet cannot be written.
    """
    entries = {entry.id: entry for entry in labels.images}
    tiles: dict[str, list[UInt8[np.ndarray, "h w 3"]]] = {kind: [] for kind in _KINDS}
    num_written = dict.fromkeys(tiles, 0)

    def write(kind: str) -> None:
        num_written[kind] += 1
        sheet = arrange_tiles(tiles[kind], _HEADINGS, columns=_COLUMNS)
        write_jpeg(out / f"{kind}-{num_written[kind]:03d}.jpg", sheet)
        tiles[kind].clear()

    for person in labels.people:
        correction = corrections.get(person.id)
        if correction is None:
            continue
        try:
            image = read_image(images / entries[person.image_id].file_name)
        except (ImageError, OSError) as error:
            yield str(error)
            continue
        kind = _kind(correction, labels.skeleton)
        tiles[kind].append(_draw(image, labels.skeleton, person, correction))
        if len(tiles[kind]) == PEOPLE_PER_SHEET:
            write(kind)
        yield None
    for kind in [kind for kind, waiting in tiles.items() if waiting]:
        write(kind)


def _kind(correction: Correction, skeleton: Skeleton) -> str:
    if set(correction.swap) & set(skeleton.mirrored_pairs):
        return "swapped"
    return "reversed" if correction.swap else "misplaced"


def _draw(
    image: UInt8[np.ndarray, "H W 3"], skeleton: Skeleton, person: LabeledPerson, correction: Correction
) -> UInt8[np.ndarray, "h w 3"]:
    person = make_drawable(person)
    frame = frame_from_box(region_around(person, Size(*image.shape[:2])), _PANEL, _PADDING)
    crop = cut_crop(image, frame)
    panels = [crop]
    for shown in (person, correct_person(person, correction, skeleton)):
        keypoints = shown.keypoints_image.copy()
        keypoints[:, :2] = transform_points(keypoints[:, :2], frame.image_to_crop)
        panels.append(draw_labels(crop, keypoints, skeleton, thickness=_THICKNESS))
    lines = textwrap.wrap(f"{person.id}: {correction.because}", _LETTERS_PER_LINE)[:_LINES]
    return join_panels(panels, lines + [""] * (_LINES - len(lines)))
