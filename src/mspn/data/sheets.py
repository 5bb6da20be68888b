"""Contact sheets: many people side by side, for whoever wants to look through them."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.crop import cut_crop
from mspn.data.labels import LabelledPerson, box_around
from mspn.draw import draw_box, draw_labels
from mspn.geometry import frame_from_box, transform_points
from mspn.records import Box, Size
from mspn.skeleton import Skeleton

TILE = Size(height=200, width=160)
PEOPLE_PER_SHEET = 100
_COLUMNS = 10
_PADDING = (1.25, 1.25)
_FARTHEST_PX = 1e6
_LETTERS_PER_LINE = 24
_LINE_PX = 11
_FONT_SCALE = 0.75
_PAPER, _INK = 24, (235, 235, 235)


def draw_tile(
    image: UInt8[np.ndarray, "H W 3"], skeleton: Skeleton, person: LabelledPerson
) -> UInt8[np.ndarray, "h w 3"]:
    """Cut a person out, with box and keypoints drawn on; the whole picture where there is nothing to cut around.

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


def make_drawable(person: LabelledPerson) -> LabelledPerson:
    """The person without a box or keypoints at no finite position, or a million pixels away."""
    keypoints = person.keypoints_image
    is_near = np.all(abs(np.nan_to_num(keypoints, nan=np.inf)) < _FARTHEST_PX, axis=1)
    has_box = person.box is not None and all(abs(value) < _FARTHEST_PX for value in person.box)
    return replace(
        person, keypoints_image=np.where(is_near[:, None], keypoints, 0), box=person.box if has_box else None
    )


def make_sheet(tiles: Sequence[UInt8[np.ndarray, "h w 3"]], captions: Sequence[str]) -> UInt8[np.ndarray, "H W 3"]:
    """Lay tiles of one size out in rows of ten, each with its caption below."""
    wrapped = [textwrap.wrap(caption, _LETTERS_PER_LINE) for caption in captions]
    height, width = tiles[0].shape[:2]
    row_height = height + _LINE_PX * max(map(len, wrapped)) + 6
    columns = min(_COLUMNS, len(tiles))
    num_rows = -(-len(tiles) // columns)
    sheet = np.full((num_rows * row_height, columns * (width + 4), 3), _PAPER, np.uint8)
    for index, (tile, lines) in enumerate(zip(tiles, wrapped, strict=True)):
        row, column = divmod(index, columns)
        top, left = row * row_height, column * (width + 4)
        sheet[top : top + height, left : left + width] = tile
        for number, line in enumerate(lines, start=1):
            place = (left + 2, top + height + number * _LINE_PX)
            cv2.putText(sheet, line, place, cv2.FONT_HERSHEY_PLAIN, _FONT_SCALE, _INK, 1, cv2.LINE_AA)
    return sheet


def region_around(person: LabelledPerson, image: Size) -> Box:
    """Around box and keypoints, wherever they are; the whole picture where there is neither."""
    around = box_around(person.keypoints_image)
    boxes = [box for box in (person.box, around) if box is not None and min(box[2:]) > 0]
    if not boxes:
        return Box(0, 0, image.width, image.height)
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right, bottom = max(box.left + box.width for box in boxes), max(box.top + box.height for box in boxes)
    return Box(left, top, right - left, bottom - top)
