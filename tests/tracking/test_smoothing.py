from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mspn.structures.skeleton import COCO_17
from mspn.tracking.smoothing import SmoothingSettings, smooth_track, smooth_tracks
from mspn.tracking.tracks import Track, VideoTracks
from tests.motion_errors import frames_behind, mean_error, overshoot
from tests.walking_figure import HEIGHT_PX, Motion, jump, walk, walk_and_stop, with_noise

SECONDS = np.arange(0, 6, 1 / 30)
LEFT_WRIST = COCO_17.keypoints.index("left_wrist")


def make_track(seconds: np.ndarray, keypoints: np.ndarray, scores: np.ndarray | None = None) -> Track:
    shape = keypoints.shape[:2]
    scores = np.ones(shape) if scores is None else scores
    return Track(4, np.arange(len(seconds)), seconds, keypoints, scores, np.zeros(shape, bool))


@pytest.mark.parametrize("motion", [walk, jump, lambda seconds: walk_and_stop(seconds, stop_at=3.0)])
def test_half_of_the_noise_goes_without_lag(motion: Callable[[np.ndarray], Motion]):
    truth = motion(SECONDS).keypoints
    seen = with_noise(truth, 0.02)

    smoothed = smooth_track(make_track(SECONDS, seen), COCO_17).keypoints

    assert mean_error(smoothed, truth) < 0.5 * mean_error(seen, truth)
    assert frames_behind(smoothed, truth) == 0


def test_nearly_half_of_the_noise_goes_at_a_variable_frame_rate():
    seconds = np.cumsum(np.random.default_rng(1).choice([1 / 60, 1 / 30, 1 / 20], 180))
    truth = walk(seconds).keypoints
    seen = with_noise(truth, 0.02)

    smoothed = smooth_track(make_track(seconds, seen), COCO_17).keypoints

    assert mean_error(smoothed, truth) < 0.55 * mean_error(seen, truth)


def test_a_sharp_stop_is_not_overshot():
    truth = walk_and_stop(SECONDS, stop_at=3.0, speed=2.0).keypoints

    smoothed = smooth_track(make_track(SECONDS, with_noise(truth, 0.02)), COCO_17).keypoints

    assert overshoot(smoothed, truth, since=90) < 0.03


def test_exact_keypoints_stay_where_they_are():
    truth = walk(SECONDS).keypoints

    smoothed = smooth_track(make_track(SECONDS, truth), COCO_17)

    assert mean_error(smoothed.keypoints, truth) < 0.001
    assert not smoothed.filled.any()


def test_keypoints_count_by_their_scores():
    truth = walk(SECONDS).keypoints
    scores = np.random.default_rng(2).choice([0.3, 0.9], (len(SECONDS), 17))
    seen = truth + (with_noise(truth, 0.01) - truth) * (0.9 / scores[..., None])

    weighted = smooth_track(make_track(SECONDS, seen, scores), COCO_17).keypoints
    unweighted = smooth_track(make_track(SECONDS, seen), COCO_17).keypoints

    assert mean_error(weighted, truth) < 0.9 * mean_error(unweighted, truth)


def test_leaps_and_swaps_are_mended_and_what_was_mistaken_is_marked_as_filled():
    truth = walk(SECONDS).keypoints
    seen = with_noise(truth, 0.003)
    seen[40:44, LEFT_WRIST] += [0.3 * HEIGHT_PX, 0]
    legs = [COCO_17.keypoints.index(f"{side}_{part}") for part in ("knee", "ankle") for side in ("left", "right")]
    seen[100:110, legs] = seen[100:110][:, [legs[1], legs[0], legs[3], legs[2]]]

    smoothed = smooth_track(make_track(SECONDS, seen), COCO_17)

    assert mean_error(seen, truth) > 0.02
    assert mean_error(smoothed.keypoints, truth) < 0.003
    assert smoothed.filled[40:44, LEFT_WRIST].all()
    assert smoothed.filled.mean() < 0.01


def test_short_gaps_are_filled_and_marked_and_long_ones_stay_open():
    truth = walk(SECONDS, strides=0).keypoints
    scores = np.ones((len(SECONDS), 17))
    scores[30:40, 3] = 0.01  # a third of a second
    scores[80:110, 3] = 0.0  # a second
    scores[:5, 9] = 0.0  # at the start

    smoothed = smooth_track(make_track(SECONDS, truth, scores), COCO_17)

    assert np.flatnonzero(smoothed.filled[:, 3]).tolist() == list(range(30, 40))
    np.testing.assert_allclose(smoothed.keypoints[30:40, 3], truth[30:40, 3], atol=1)
    assert np.flatnonzero(np.isnan(smoothed.keypoints[:, 3, 0])).tolist() == list(range(80, 110))
    assert np.flatnonzero(np.isnan(smoothed.keypoints[:, 9, 0])).tolist() == list(range(5))
    assert (smoothed.scores[30:40, 3] == 0.01).all()


def test_frames_of_the_video_in_which_nobody_was_found_are_filled_if_they_are_few():
    truth = walk(SECONDS, strides=0).keypoints
    seen = make_track(SECONDS, truth).select_frames(~np.isin(np.arange(len(SECONDS)), [50, 51, *range(100, 140)]))
    video = VideoTracks("a.mp4", COCO_17, np.arange(len(SECONDS)), SECONDS, (seen,))

    (track,) = smooth_tracks(video).tracks

    assert track.frames.tolist() == [*range(100), *range(140, 180)]
    assert track.filled[[50, 51]].all()
    assert track.filled.sum() == 2 * 17
    np.testing.assert_allclose(track.keypoints[50], truth[50], atol=1)


def test_smoothing_twice_fills_nothing_more_and_keeps_the_marks():
    truth = walk(SECONDS, strides=0).keypoints
    scores = np.ones((len(SECONDS), 17))
    scores[30:40, 3] = 0

    once = smooth_track(make_track(SECONDS, truth, scores), COCO_17)
    twice = smooth_track(once, COCO_17)

    np.testing.assert_array_equal(twice.filled, once.filled)


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_the_shortest_tracks_are_kept(num_frames: int):
    truth = walk(SECONDS[:num_frames]).keypoints

    smoothed = smooth_track(make_track(SECONDS[:num_frames], truth), COCO_17)

    np.testing.assert_allclose(smoothed.keypoints, truth, atol=2)  # half a percent of the height


def test_a_track_without_keypoints_is_dropped():
    nothing = make_track(SECONDS[:3], np.full((3, 17, 2), np.nan))
    unseen = replace(make_track(SECONDS[:3], np.zeros((3, 17, 2))), scores=np.zeros((3, 17)))
    video = VideoTracks("a.mp4", COCO_17, np.arange(3), SECONDS[:3], (nothing, unseen))

    assert smooth_tracks(video).tracks == ()
    assert smooth_tracks(replace(video, tracks=())).tracks == ()


def test_gaps_are_not_filled_when_that_is_not_wanted():
    scores = np.ones((len(SECONDS), 17))
    scores[30, 3] = 0

    smoothed = smooth_track(
        make_track(SECONDS, walk(SECONDS).keypoints, scores), COCO_17, SmoothingSettings(max_gap_seconds=0)
    )

    assert not smoothed.filled.any()
    assert np.isnan(smoothed.keypoints[30, 3]).all()


def test_more_frames_a_second_take_away_more_noise():
    remaining = []
    for frame_rate in (10, 30, 120):
        seconds = np.arange(0, 4, 1 / frame_rate)
        truth = walk(seconds).keypoints
        seen = with_noise(truth, 0.02)
        smoothed = smooth_track(make_track(seconds, seen), COCO_17).keypoints
        remaining.append(mean_error(smoothed, truth) / mean_error(seen, truth))

    assert remaining[0] < 0.7
    assert remaining[1] < 0.5
    assert remaining[2] < 0.3
