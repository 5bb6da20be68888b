from collections.abc import Callable

import numpy as np
import pytest

from mspn.tracking.one_euro import OneEuroFilter
from tests.motion_errors import frames_behind, mean_error, overshoot
from tests.walking_figure import HEIGHT_PX, Motion, jump, walk, walk_and_stop, with_noise

SECONDS = np.arange(0, 8, 1 / 30)


def smooth(seconds: np.ndarray, keypoints: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
    """The keypoints (F, K, 2) of one person, smoothed frame by frame."""
    smoother = OneEuroFilter()
    scores = np.ones(keypoints.shape[:2]) if scores is None else scores
    frames = [
        smoother.update(np.array([5]), points[None], score[None], time)
        for time, points, score in zip(seconds, keypoints, scores, strict=True)
    ]
    return np.concatenate(frames)


@pytest.mark.parametrize("motion", [walk, jump, lambda seconds: walk_and_stop(seconds, stop_at=4.0)])
def test_three_tenths_of_the_noise_go_without_two_frames_of_lag(motion: Callable[[np.ndarray], Motion]):
    truth = motion(SECONDS).keypoints
    seen = with_noise(truth, 0.02)

    smoothed = smooth(SECONDS, seen)

    assert mean_error(smoothed, truth) < 0.7 * mean_error(seen, truth)
    assert abs(frames_behind(smoothed, truth)) <= 1


def test_a_variable_frame_rate_is_smoothed_as_well():
    seconds = np.cumsum(np.random.default_rng(1).choice([1 / 60, 1 / 30, 1 / 20], 240))
    truth = walk(seconds).keypoints
    seen = with_noise(truth, 0.02)

    assert mean_error(smooth(seconds, seen), truth) < 0.75 * mean_error(seen, truth)


def test_a_sharp_stop_is_not_overshot():
    truth = walk_and_stop(SECONDS, stop_at=4.0, speed=2.0).keypoints

    assert overshoot(smooth(SECONDS, with_noise(truth, 0.02)), truth, since=120) < 0.03
    # A limb that stops while the body stands, too: a hand that falls at a speed of 1.5 heights a second.
    truth = walk(SECONDS, speed=0, strides=0).keypoints
    truth[:, 9, 1] += np.minimum(SECONDS, 4.0) * 1.5 * HEIGHT_PX
    error = smooth(SECONDS, truth)[120:, 9, 1] - truth[120:, 9, 1]
    assert error.max() < 0.03 * HEIGHT_PX


def test_people_do_not_depend_on_each_other_nor_on_their_order():
    first = with_noise(walk(SECONDS[:20]).keypoints, 0.02, seed=1)
    second = with_noise(walk(SECONDS[:20], direction=-1).keypoints, 0.01, seed=2)
    smoother = OneEuroFilter()
    scores = np.ones((2, 17))

    for frame in range(20):
        both = np.stack([first[frame], second[frame]])
        if frame % 2:
            smoothed = smoother.update(np.array([8, 3]), both[::-1], scores, SECONDS[frame])[::-1]
        else:
            smoothed = smoother.update(np.array([3, 8]), both, scores, SECONDS[frame])

    np.testing.assert_allclose(smoothed[0], smooth(SECONDS[:20], first)[-1])
    np.testing.assert_allclose(smoothed[1], smooth(SECONDS[:20], second)[-1])


def test_someone_who_was_away_for_long_starts_anew():
    smoother = OneEuroFilter()
    here, there = np.full((1, 17, 2), 10.0), np.full((1, 17, 2), 500.0)
    here[0, 0, 1], there[0, 0, 1] = 110.0, 600.0
    smoother.update(np.array([1]), here, np.ones((1, 17)), 0.0)

    assert smoother.update(np.array([1]), there, np.ones((1, 17)), 1.5).tolist() == there.tolist()
    # Also where the video begins again.
    assert smoother.update(np.array([1]), here, np.ones((1, 17)), 0.2).tolist() == here.tolist()


def test_a_keypoint_that_is_not_seen_moves_on_with_the_others():
    truth = walk(SECONDS[:30], strides=0).keypoints
    seen, scores = truth.copy(), np.ones((30, 17))
    seen[10:, 9] = np.nan
    seen[10:, 10], scores[10:, 10] = 0.0, 0.0

    smoothed = smooth(SECONDS[:30], seen, scores)

    np.testing.assert_allclose(smoothed[:, [9, 10]], truth[:, [9, 10]], atol=0.01)


def test_a_keypoint_of_half_the_score_is_moved_half_as_far():
    start = np.zeros((1, 5, 2))
    start[0, :, 1] = [0, 100, 200, 300, 400]
    jumped = start.copy()
    jumped[0, [1, 3], 0] = 20.0  # the others rest, so that the shared motion is 0 after jumps are cut off
    smoother = OneEuroFilter()
    for frame in range(5):
        smoother.update(np.array([1]), start, np.ones((1, 5)), frame / 30)

    moved = smoother.update(np.array([1]), jumped, np.array([[1, 1, 1, 0.5, 1]]), 5 / 30)

    assert moved[0, 1, 0] > 1
    assert moved[0, 3, 0] == pytest.approx(moved[0, 1, 0] / 2)


def test_frames_without_people_and_people_without_keypoints_are_taken():
    smoother = OneEuroFilter()
    nobody = smoother.update(np.zeros(0, int), np.zeros((0, 17, 2)), np.zeros((0, 17)), 0.0)
    unseen = smoother.update(np.array([4]), np.full((1, 17, 2), np.nan), np.zeros((1, 17)), 0.1)
    seen = smoother.update(np.array([4]), np.full((1, 17, 2), 7.0), np.ones((1, 17)), 0.1)

    assert nobody.shape == (0, 17, 2)
    assert np.isnan(unseen).all()
    assert (seen == 7.0).all()


def test_memory_does_not_grow_with_the_people_who_pass_by():
    smoother = OneEuroFilter()
    for frame in range(300):
        smoother.update(np.array([frame]), np.ones((1, 17, 2)), np.ones((1, 17)), frame / 10)

    assert len(smoother._rows) <= 12
