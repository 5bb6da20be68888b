"""Contact sheets: many people side by side, for whoever wants to look through them."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from mspn.contact_sheet import arrange_tiles, join_panels
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
_LETTERS_PER_LINE = 26


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
    num_lines = max(map(len, wrapped))
    panels = [
        join_panels([tile], lines + [""] * (num_lines - len(lines))) for tile, lines in zip(tiles, wrapped, strict=True)
    ]
    return arrange_tiles(panels, [], columns=_COLUMNS)


def region_around(person: LabelledPerson, image: Size) -> Box:
    """Around box and keypoints, wherever they are; the whole picture where there is neither."""
    around = box_around(person.keypoints_image)
    boxes = [box for box in (person.box, around) if box is not None and min(box[2:]) > 0]
    if not boxes:
        return Box(0, 0, image.width, image.height)
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right, bottom = max(box.left + box.width for box in boxes), max(box.top + box.height for box in boxes)
    return Box(left, top, right - left, bottom - top)
