import numpy as np
import pytest

from mspn.structures.skeleton import COCO_17
from mspn.tracking.smoothing import find_leaps, find_swaps
from tests.walking_figure import HEIGHT_PX, walk, with_noise

SECONDS = np.arange(0, 6, 1 / 30)
LEFT_ANKLE, RIGHT_ANKLE = (COCO_17.keypoints.index(f"{side}_ankle") for side in ("left", "right"))


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_ankles_that_cross_are_not_swapped_and_swapped_ones_are_found(noise: float):
    seen = with_noise(walk(SECONDS).keypoints, noise)
    swapped = np.zeros(len(SECONDS), bool)
    swapped[[20, *range(50, 55), *range(100, 130)]] = True
    left, right = seen[:, LEFT_ANKLE].copy(), seen[:, RIGHT_ANKLE].copy()

    assert not find_swaps(left, right, SECONDS, HEIGHT_PX).any()
    left[swapped], right[swapped] = right[swapped], left[swapped]
    found = find_swaps(left, right, SECONDS, HEIGHT_PX)

    far_apart = np.hypot(*(left - right).T) > 0.15 * HEIGHT_PX
    assert (found == swapped)[far_apart].all()


def test_a_pair_that_is_swapped_less_than_half_of_the_time_without_motion_is_found():
    left, right = np.tile([100.0, 50.0], (40, 1)), np.tile([200.0, 50.0], (40, 1))
    left[30:], right[30:] = right[30:].copy(), left[30:].copy()

    assert np.flatnonzero(find_swaps(left, right, SECONDS[:40], 400)).tolist() == list(range(30, 40))


def test_after_a_long_gap_a_pair_may_be_anywhere():
    left, right = np.tile([100.0, 50.0], (40, 1)), np.tile([200.0, 50.0], (40, 1))
    left[20:], right[20:] = right[20:].copy(), left[20:].copy()
    seconds = np.concatenate([SECONDS[:20], 5 + SECONDS[:20]])

    assert not find_swaps(left, right, seconds, 400).any()


def test_missing_keypoints_are_never_swapped():
    left, right = np.full((3, 2), np.nan), np.ones((3, 2))

    assert not find_swaps(left, right, SECONDS[:3], 400).any()
    assert not find_swaps(left[:0], right[:0], SECONDS[:0], 400).any()


def test_leaps_away_and_back_are_found_and_single_steps_are_not():
    points = np.tile([100.0, 100.0], (30, 1))
    points[5] += [80, 0]
    points[10:14] += [0, -90]
    points[14] = np.nan
    points[20:] += [120, 0]  # does not come back

    leaps = find_leaps(points, SECONDS[:30], 400, max_seconds=0.4)

    assert np.flatnonzero(leaps).tolist() == [5, 10, 11, 12, 13]


def test_a_leap_counts_by_time_and_not_by_frames():
    points = np.tile([100.0, 100.0], (12, 1))
    points[4:7] += [200, 0]

    assert find_leaps(points, np.arange(12) / 30, 400, max_seconds=0.4)[4:7].all()
    assert not find_leaps(points, np.arange(12) / 5, 400, max_seconds=0.4).any()


def test_a_punch_is_not_a_leap():
    # Out and back in a third of a second: half a height, at up to 4.7 heights a second.
    points = np.tile([100.0, 100.0], (40, 1))
    points[10:21, 0] += 0.5 * HEIGHT_PX * np.sin(np.pi * np.arange(11) / 10) ** 2

    assert not find_leaps(points, SECONDS[:40], HEIGHT_PX, max_seconds=0.4).any()
