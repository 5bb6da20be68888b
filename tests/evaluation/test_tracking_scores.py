import tracemalloc

import numpy as np
import pytest

from mspn.evaluation.tracks import TrackedFrame, measure_tracking


def _frame(labels: dict[int, int | None], false: tuple[int, ...] = (), similarity: float = 1.0) -> TrackedFrame:
    """Labeled people, each with the track that lies on it, and tracks where nobody is."""
    tracks = [*(track for track in labels.values() if track is not None), *false]
    is_pair = np.array([[track == own for track in tracks] for own in labels.values()], bool)
    shape = (len(labels), len(tracks))
    return TrackedFrame(np.array(list(labels), int), np.array(tracks, int), similarity * is_pair.reshape(shape))


def test_tracks_that_are_right_everywhere_have_full_scores():
    scores = measure_tracking([_frame({1: 7, 2: 8})] * 5)

    assert scores[:5] == pytest.approx((1, 1, 1, 1, 1))
    assert scores[5:] == (0, 10, 10)


def test_a_track_that_changes_its_id_half_way_is_half_right():
    scores = measure_tracking([_frame({1: 7})] * 4 + [_frame({1: 8})] * 4)

    # 4 of 8 with the one id that the person may have; both tracks share 4 frames of 8 with the person.
    assert (scores.idf1, scores.detection, scores.association) == pytest.approx((0.5, 1, 0.5))
    assert scores.hota == pytest.approx(0.5**0.5)
    assert (scores.mota, scores.num_switches) == (pytest.approx(7 / 8), 1)


def test_misses_and_false_detections_count():
    scores = measure_tracking([_frame({1: 7}), _frame({1: None}), _frame({1: 7}, false=(9,)), _frame({1: 7})])

    # 3 right, 1 missed, 1 false.
    assert scores.detection == pytest.approx(3 / 5)
    assert scores.idf1 == pytest.approx(2 * 3 / (4 + 4))
    assert scores.mota == pytest.approx((3 - 1) / 4)
    assert scores.association == pytest.approx(3 / 4)


def test_hota_counts_the_thresholds_that_a_detection_reaches():
    scores = measure_tracking([_frame({1: 7}, similarity=0.62)] * 3)

    # 0.05, 0.10, ..., 0.60: 12 of 19.
    assert scores.hota == pytest.approx(12 / 19)
    assert (scores.idf1, scores.mota) == (1, 1)
    assert measure_tracking([_frame({1: 7}, similarity=0.45)]).mota == -1  # a miss and a false detection


def test_a_person_who_keeps_a_track_is_not_given_a_better_one():
    similarity = np.array([[0.6, 0.9]])
    frames = [_frame({1: 7}), TrackedFrame(np.array([1]), np.array([7, 8]), similarity)]

    assert measure_tracking(frames).num_switches == 0


def test_memory_grows_by_a_few_numbers_for_each_pair_of_a_person_and_a_track():
    frames = [_frame({person: person}) for person in range(400)]  # each in a frame of their own

    tracemalloc.start()
    scores = measure_tracking(frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (scores.hota, scores.num_labels) == (pytest.approx(1), 400)
    assert peak < 8 * 8 * 400**2  # and not one for each of the 19 thresholds


def test_without_anybody_all_is_zero():
    assert measure_tracking([]) == (0, 0, 0, 0, 0, 0, 0, 0)
    assert measure_tracking([_frame({})] * 2) == (0, 0, 0, 0, 0, 0, 0, 0)


def test_random_sequences_have_the_scores_of_trackeval():
    # Computed once by trackeval 1.3.0 (HOTA, Identity, CLEAR) from the same numbers.
    expected = [
        (0.3123629, 0.4983169, 0.1980537, 0.4661017, 0.2166667, 14),
        (0.3098594, 0.485048, 0.1985362, 0.4133333, 0.3648649, 5),
        (0.2884749, 0.4781627, 0.1765304, 0.3933054, 0.2666667, 27),
        (0.3035705, 0.5068734, 0.1835815, 0.4146341, 0.3658537, 20),
    ]

    for seed, row in enumerate(expected):
        scores = measure_tracking(_random_sequence(seed))
        assert scores[:5] == pytest.approx(row[:5], abs=5e-7)
        assert scores.num_switches == row[5]


def _random_sequence(seed: int) -> list[TrackedFrame]:
    """Up to five people, a fifth missed, whose tracks move on by one half way."""
    random = np.random.default_rng(seed)
    num_people = int(random.integers(1, 6))
    frames = []
    for number in range(30):
        labels = np.flatnonzero(random.random(num_people) < 0.8)
        tracks = np.flatnonzero(random.random(num_people) < 0.8)
        is_own = labels[:, None] == (tracks + (number >= 15)) % num_people
        similarity = 0.6 * random.random(is_own.shape) + is_own * 0.4
        frames.append(TrackedFrame(labels, 100 + tracks, similarity.round(4)))
    return frames
