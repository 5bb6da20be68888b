from dataclasses import replace

import numpy as np

from mspn.structures.boxes import Box
from mspn.structures.pose import Pose
from mspn.visualize.draw import Trails
from mspn.visualize.themes import track_color
from tests.outputs.results import a_pose

BLACK = np.zeros((100, 200, 3), np.uint8)


def _person(x: float, track_id: int | None) -> Pose:
    """Whose feet are in a column of row 80."""
    return replace(a_pose(), box=Box(x - 10, 40, 20, 40), track_id=track_id)


def _columns(image: np.ndarray, row: int = 80) -> tuple[int, int]:
    """The first and the last column that is drawn on in a row."""
    (drawn,) = np.nonzero(image[row].any(1))
    return int(drawn[0]), int(drawn[-1])


def test_a_trail_is_the_way_of_the_last_second_in_the_color_of_its_track():
    trails = Trails()

    for number in range(51):  # 2 pixels in each of 25 frames a second
        drawn = trails.draw(BLACK, [_person(20 + 2 * number, 3)], number / 25)

    first, last = _columns(drawn)
    assert abs(first - (120 - 50)) <= 2
    assert abs(last - 120) <= 2
    np.testing.assert_allclose(drawn[80, 100], track_color(3), atol=8)
    assert not BLACK.any()


def test_who_is_not_there_or_has_no_track_has_no_trail():
    trails = Trails()

    trails.draw(BLACK, [_person(20, 1), _person(120, None)], 0.0)
    drawn = trails.draw(BLACK, [_person(160, None)], 0.04)

    assert not drawn.any()


def test_a_trail_begins_anew_after_a_gap_and_odd_boxes_are_no_trouble():
    trails = Trails()

    trails.draw(BLACK, [_person(20, 1)], 0.0)
    trails.draw(BLACK, [_person(float("nan"), 1), _person(1e9, 2)], 0.04)
    trails.draw(BLACK, [_person(150, 1)], 1.5)
    drawn = trails.draw(BLACK, [_person(160, 1)], 1.54)

    assert _columns(drawn)[0] > 140
    assert len(trails._places) == 1
