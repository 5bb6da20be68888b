from dataclasses import replace

import numpy as np
import pytest

from mspn.labels.drawing import TILE, draw_tile, make_contact_sheet, make_drawable
from mspn.structures.boxes import Box
from tests.labeled_sets import SIZE, sound_set


def test_a_tile_shows_the_person_and_its_labels():
    labels = sound_set()
    gray = np.full((*SIZE, 3), 90, np.uint8)

    tile = draw_tile(gray, labels.skeleton, labels.people[0])

    assert tile.shape == (*TILE, 3)
    assert {tuple(color) for color in tile.reshape(-1, 3).tolist()} >= {(90, 90, 90), (255, 120, 40), (40, 170, 255)}


@pytest.mark.parametrize("box", [None, Box(0, 0, 0, 0), Box(float("nan"), 0, 10, 10)])
def test_somebody_without_box_and_keypoints_is_shown_as_the_whole_image(box: Box | None):
    labels = sound_set()
    person = make_drawable(replace(labels.people[0], keypoints_image=np.zeros((17, 3)), box=box))
    # Red on the left, black on the right.
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:, :150] = (200, 0, 0)

    tile = draw_tile(image, labels.skeleton, person)

    middle = tile[TILE.height // 2]
    assert middle[TILE.width // 2 - 20].tolist() == [200, 0, 0]
    assert middle[TILE.width // 2 + 20].tolist() == [0, 0, 0]


def test_a_keypoint_far_outside_the_box_is_still_on_the_tile():
    labels = sound_set()
    keypoints = labels.people[0].keypoints_image.copy()
    keypoints[labels.skeleton.keypoints.index("right_wrist")] = (-400, 100, 2)

    tile = draw_tile(
        np.zeros((*SIZE, 3), np.uint8), labels.skeleton, replace(labels.people[0], keypoints_image=keypoints)
    )

    # The region from -400 to about 100 has its left end on the left of the tile.
    assert (tile[:, : TILE.width // 4] == (40, 170, 255)).all(-1).any()


def test_a_sheet_has_rows_of_ten_with_captions_below():
    tiles = [np.full((50, 40, 3), 10 * number, np.uint8) for number in range(1, 13)]

    sheet = make_contact_sheet(tiles, ["7"] * 12)

    # Tiles are 50 high with a line of 18 and 4 below, and stand 16 apart.
    assert sheet.shape == (16 + 2 * (72 + 16), 16 + 10 * (40 + 16), 3)
    assert sheet[16 + 25, 16 + 20].tolist() == [10, 10, 10]
    assert sheet[16 + 88 + 25, 16 + 56 + 20].tolist() == [120, 120, 120]
    assert sheet[16 + 52 : 16 + 70, 16:56].max() > 200
