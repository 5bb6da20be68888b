from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.image import FrameInfo, Video
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17
from mspn.tracking.tracker import Tracker, TrackerSettings
from tests.moving_people import Detector, make_scene

VIDEO = Video("walk.mp4", Size(1000, 1000), Fraction(25), None, is_live=False)


def _person(left: float, *, top: float = 100, box_score: float = 0.9, keypoint_score: float = 0.9) -> Pose:
    """Somebody 400 pixels tall, with keypoints on a slope through the box."""
    keypoints = np.linspace((left + 10, top + 10), (left + 150, top + 390), 17)
    return Pose(
        COCO_17, keypoints, np.full(17, keypoint_score), 0.5, 1.0, Box(left, top, 160, 400), box_score=box_score
    )


def _flipped(person: Pose) -> Pose:
    """The same box, with the keypoints in reverse order."""
    return replace(person, keypoints_image=person.keypoints_image[::-1].copy())


RED_AND_BLUE = np.array([[53.0, 80.0, 67.0], [32.0, 79.0, -108.0]])
"""In CIELAB."""


def _dressed(person: Pose, colors: np.ndarray = RED_AND_BLUE) -> Pose:
    return replace(person, colors=colors)


def _frame(seconds: float) -> FrameInfo:
    return FrameInfo(VIDEO, round(25 * seconds), seconds)


def _ids(poses: list[Pose]) -> list[int | None]:
    return [pose.track_id for pose in poses]


def test_people_keep_their_ids_whatever_their_order():
    tracker = Tracker()

    first = tracker.update([_person(100), _person(600)], 0.0)
    second = tracker.update([_person(605), _person(105)], 0.04)

    assert _ids(first) == [1, 2]
    assert _ids(second) == [2, 1]


def test_two_people_who_pass_each_other_keep_their_ids():
    tracker = Tracker()

    # At 300 pixels a second to the right and to the left they meet after a second.
    for frame in range(51):
        walked = 300 * frame / 25
        tracked = tracker.update([_person(100 + walked), _person(700 - walked, top=110)], frame / 25)

    assert [(pose.track_id, pose.box.left) for pose in tracked] == [(1, 700), (2, 100)]


@pytest.mark.parametrize(("hidden_seconds", "expected"), [(1.9, [1]), (2.1, [2])])
def test_somebody_who_was_hidden_for_two_seconds_at_most_is_the_same(hidden_seconds: float, expected: list[int]):
    tracker = Tracker()
    for frame in range(76):  # three seconds at 50 pixels a second
        tracker.update([_person(100 + 2 * frame)], frame / 25)
    last = 100 + 2 * 75

    for frame in range(1, round(hidden_seconds * 25)):
        assert tracker.update([], 3 + frame / 25) == []
    back = tracker.update([_person(last + 50 * hidden_seconds)], 3 + hidden_seconds)

    assert _ids(back) == expected


def test_times_count_and_not_numbers_of_frames():
    tracker = Tracker()

    # The same walk at a rate that changes from 50 to 5 frames a second, with a gap of 1.5 s.
    times = [*np.arange(0, 3, 0.02), *np.arange(3, 5, 0.2), *np.arange(6.5, 8, 0.2)]
    tracked = [tracker.update([_person(50 + 60 * seconds)], float(seconds)) for seconds in times]

    assert {pose.track_id for poses in tracked for pose in poses} == {1}


def test_at_a_frame_a_second_people_are_followed():
    tracker = Tracker()

    tracked = [tracker.update([_person(100 + 5 * seconds)], float(seconds)) for seconds in range(5)]

    assert [_ids(poses) for poses in tracked] == [[1]] * 5
    assert _ids(tracker.update([_person(120)], 6.1)) == [2]  # after more than two seconds


def test_somebody_seen_once_is_forgotten_after_half_a_second():
    tracker = Tracker()

    tracker.update([_person(100)], 0.0)
    tracker.update([], 0.4)
    soon = Tracker()
    soon.update([_person(100)], 0.0)

    assert _ids(tracker.update([_person(100)], 0.6)) == [2]
    assert _ids(soon.update([_person(100)], 0.4)) == [1]


def test_doubtful_detections_continue_a_track_and_begin_none():
    tracker = Tracker()

    before = tracker.update([_person(100), _person(600, box_score=0.2)], 0.0)
    after = tracker.update([_person(104, box_score=0.2), _person(600, box_score=0.2)], 0.04)

    assert [(pose.track_id, pose.box.left) for pose in before] == [(1, 100)]
    assert [(pose.track_id, pose.box.left) for pose in after] == [(1, 104)]


def test_a_confident_detection_comes_before_a_doubtful_one_that_fits_better():
    tracker = Tracker()
    tracker.update([_person(100)], 0.0)

    (tracked,) = tracker.update([_person(100, box_score=0.2), _person(115)], 0.04)

    assert (tracked.track_id, tracked.box.left) == (1, 115)


def test_a_pose_that_resembles_one_of_a_track_is_left_out():
    tracker = Tracker()
    tracker.update([_person(100)], 0.0)

    assert _ids(tracker.update([_person(100), _person(106)], 0.04)) == [1]


def test_a_second_box_of_somebody_is_left_out_whatever_its_keypoints():
    tracker = Tracker()
    tracker.update([_person(100)], 0.0)
    # Intersection over union is 110 / 210.
    upside_down = _flipped(_person(150, box_score=0.8))

    assert _ids(tracker.update([_person(100), upside_down], 0.04)) == [1]
    assert _ids(tracker.update([_person(100), replace(upside_down, box_score=0.95)], 0.08)) == [1, 2]


def test_somebody_half_hidden_is_known_by_the_box():
    tracker = Tracker()
    tracker.update([_person(100), _person(600)], 0.0)
    half = _person(104)
    half.keypoints_image[8:] += 300  # nine of seventeen keypoints are elsewhere: OKS is below 8 / 17
    all_elsewhere = _flipped(_person(604))

    assert _ids(tracker.update([half, all_elsewhere], 0.04)) == [1, 3]


@pytest.mark.parametrize(
    ("colors", "expected"),
    [
        (RED_AND_BLUE, [1]),
        (RED_AND_BLUE + np.array([10, 0, 0]), [1]),  # exp(-10^2 / (2 x 16^2)) = 0.82
        (RED_AND_BLUE + np.array([30, 0, 0]), [2]),  # 0.17
        (np.array([[np.nan] * 3, RED_AND_BLUE[1]]), [1]),
        (np.array([[np.nan] * 3, RED_AND_BLUE[0]]), [2]),
        (np.full((2, 3), np.nan), [2]),
        (None, [2]),
    ],
    ids=["the same", "lighter", "much lighter", "the same trousers", "other trousers", "unseen", "without pixels"],
)
def test_who_comes_back_turned_round_and_a_step_aside_is_known_by_the_clothes(
    colors: np.ndarray | None, expected: list[int]
):
    tracker = Tracker()
    for frame in range(26):
        tracker.update([_dressed(_person(100))], frame / 25)

    # 300 pixels are 1.2 times the size, the root of 160 x 400.
    back = tracker.update([replace(_flipped(_person(400)), colors=colors)], 2.0)

    assert _ids(back) == expected


@pytest.mark.parametrize(("colors", "expected"), [(RED_AND_BLUE[::-1], [2]), (None, [1])], ids=["other", "unknown"])
def test_somebody_hidden_does_not_take_the_place_of_whoever_passes_in_other_clothes(
    colors: np.ndarray | None, expected: list[int]
):
    tracker = Tracker()
    for frame in range(58):  # one stands and is hidden then, one comes by 12 pixels a frame
        passing = replace(_person(800 - 12 * frame), colors=colors)
        tracker.update([*([_dressed(_person(100))] if frame < 40 else []), passing], frame / 25)

    # The passing one, who is expected at 800 - 12 x 58 = 104, is 34 pixels ahead.
    tracked = tracker.update([replace(_person(70), colors=colors)], 58 / 25)

    assert _ids(tracked) == expected


def test_who_was_there_a_moment_ago_may_look_different():
    tracker = Tracker()
    tracker.update([_dressed(_person(100))], 0.0)

    assert _ids(tracker.update([_dressed(_person(104), RED_AND_BLUE[::-1])], 0.04)) == [1]


def test_nobody_is_known_by_the_clothes_who_is_too_far_away():
    tracker = Tracker()
    for frame in range(26):
        tracker.update([_dressed(_person(100))], frame / 25)

    assert _ids(tracker.update([_dressed(_person(500))], 2.0)) == [2]  # 1.6 times the size


def test_a_second_pose_of_somebody_is_nobody_else_in_the_same_clothes():
    tracker = Tracker()
    for frame in range(26):
        tracker.update([_dressed(_person(100)), _dressed(_person(400))], frame / 25)
    tracker.update([_dressed(_person(100))], 1.04)

    assert _ids(tracker.update([_dressed(_person(100)), _dressed(_person(106))], 1.08)) == [1]


def test_clothes_are_remembered_from_frames_without_anybody_close_by():
    tracker = Tracker()
    other_colors = RED_AND_BLUE[::-1]
    for frame in range(26):
        tracker.update([_dressed(_person(100))], frame / 25)
    for frame in range(26, 126):  # 60 of the 160 columns of the box are also in the other's
        tracker.update([_dressed(_person(100), other_colors), _person(200)], frame / 25)

    back = tracker.update([_dressed(_flipped(_person(400))), _person(200)], 6.0)

    assert _ids(back) == [1, 2]


def test_keypoints_that_nobody_sees_do_not_count():
    tracker = Tracker()
    tracker.update([_person(100)], 0.0)
    half_seen = _person(104)
    half_seen.keypoints_image[9:] = np.nan
    half_seen.keypoint_scores[9:] = 0.02

    assert _ids(tracker.update([half_seen], 0.04)) == [1]
    assert _ids(tracker.update([_person(108)], 0.08)) == [1]


def test_who_has_left_the_frame_does_not_come_back_at_once():
    stays, leaves = Tracker(), Tracker()
    for frame in range(51):  # 400 pixels a second to the right, beyond the edge at 1000
        stays.update([_person(300)], _frame(frame / 25))
        leaves.update([_person(300 + 14 * frame)], _frame(frame / 25))

    for tracker in (stays, leaves):
        tracker.update([], _frame(3.0))

    assert _ids(stays.update([_person(300)], _frame(3.4))) == [1]
    # Though that is where the person would be by now.
    assert _ids(leaves.update([_person(300 + 14 * 85)], _frame(3.4))) == [2]


def test_another_video_begins_anew_and_a_cut_goes_on_counting():
    tracker = Tracker()
    other = Video("run.mp4", VIDEO.size, None, None, is_live=False)
    tracker.update([_person(100)], _frame(0.0))

    tracker.end_tracks()
    after_cut = tracker.update([_person(100)], _frame(0.04))
    after_video = tracker.update([_person(100)], FrameInfo(other, 0, 0.08))
    after_rewind = tracker.update([_person(100)], FrameInfo(other, 0, 0.0))

    assert (_ids(after_cut), _ids(after_video), _ids(after_rewind)) == ([2], [1], [1])


def test_frames_without_anybody_are_frames():
    tracker = Tracker()

    assert tracker.update([], 0.0) == []
    assert tracker.predict_boxes(_frame(0.04)) == []
    assert tracker.track_boxes(_frame(0.08)).choose([], [Detection(Box(0, 0, 10, 20), 0.2)], _frame(0.08)) == []
    assert _ids(tracker.update([_person(100)], _frame(0.12))) == [1]


def test_a_repeated_time_stamp_moves_nobody():
    tracker = Tracker()

    for _ in range(3):
        tracked = tracker.update([_person(100)], 1.0)

    assert _ids(tracked) == [1]


def test_boxes_go_on_with_their_people_and_keep_size_and_score():
    tracker = Tracker()
    for frame in range(26):  # 200 pixels a second to the right
        tracker.update([_person(100 + 8 * frame, box_score=0.7)], _frame(frame / 25))

    (detection,) = tracker.predict_boxes(_frame(26 / 25))

    assert detection.box == pytest.approx(Box(100 + 8 * 26, 100, 160, 400), abs=1)
    assert detection.score == 0.7


def test_a_box_that_was_predicted_follows_the_keypoints():
    tracker = Tracker()
    tracker.update([_person(100)], _frame(0.0))

    (box,) = tracker.predict_boxes(_frame(0.04))
    moved = replace(_person(130), box=box.box)  # the person has moved by 30, the box not yet
    tracker.update([moved], _frame(0.04), boxes_are_measured=False)
    (following,) = tracker.predict_boxes(_frame(0.04))

    assert box.box == pytest.approx(Box(100, 100, 160, 400))
    assert following.box == pytest.approx(Box(130, 100, 160, 400))


def test_boxes_of_people_who_leave_the_frame_or_are_gone_are_not_predicted():
    tracker = Tracker()
    for frame in range(10):  # leaves to the left at 500 pixels a second
        tracker.update([_person(100 - 20 * frame), _person(500)], _frame(frame / 25))

    tracker.update([_person(100 - 20 * 10)], _frame(10 / 25))  # the other is not seen
    assert [detection.box.left < 0 for detection in tracker.predict_boxes(_frame(11 / 25))] == [True]
    assert tracker.predict_boxes(_frame(20 / 25)) == []


def test_doubtful_boxes_are_chosen_where_somebody_should_be_and_no_confident_box_is():
    tracker = Tracker()
    for frame in range(26):  # one stands, one goes by 8 pixels a frame
        tracker.update([_person(100), _person(400 + 8 * frame)], _frame(frame / 25))
    of_first, of_second = Box(102, 100, 160, 400), Box(400 + 8 * 26, 100, 160, 400)
    of_nobody = Box(800, 500, 100, 300)

    chosen = tracker.track_boxes(_frame(26 / 25)).choose(
        [Detection(of_first, 0.9)],
        [Detection(of_nobody, 0.25), Detection(of_second, 0.2), Detection(of_first, 0.15)],
        _frame(26 / 25),
    )

    assert chosen == [Detection(of_second, 0.2)]


def test_the_lowest_confident_score_is_a_setting():
    tracker = Tracker(TrackerSettings(confident_score=0.8))

    assert tracker.update([_person(100, box_score=0.7)], 0.0) == []


@pytest.mark.parametrize(
    ("box_score", "keypoint_scores", "expected"),
    [
        (0.35, [0.78] * 17, [1]),  # 0.35 * 0.78 = 0.273, and nine tenths of 0.3 are 0.27
        (0.35, [0.77] * 17, []),
        (0.35, [0.9] * 8 + [0.15] * 9, [1]),  # half hidden: 0.35 * (8 * 0.81 + 9 * 0.0225) / (7.2 + 1.35) = 0.274
        (0.65, [0.1] * 17, [1]),  # halfway from 0.3 to 1: the box is enough
        (0.64, [0.1] * 17, []),
    ],
)
def test_a_box_just_above_the_threshold_begins_a_track_if_keypoints_are_certain(
    box_score: float, keypoint_scores: list[float], expected: list[int]
):
    person = replace(_person(100, box_score=box_score), keypoint_scores=np.array(keypoint_scores))

    assert _ids(Tracker().update([person], 0.0)) == expected


def test_a_track_goes_on_with_keypoints_that_are_not_certain():
    tracker = Tracker()
    tracker.update([_person(100)], 0.0)

    assert _ids(tracker.update([_person(104, box_score=0.35, keypoint_score=0.2)], 0.04)) == [1]


def test_twenty_people_are_followed_through_a_crowd_and_the_state_stays_small():
    scene = make_scene(20, num_seconds=8, seed=3)
    tracker = Tracker()
    largest = 0

    ids = set()
    for frame, poses in enumerate(scene.detect(Detector(missed=0.1, false=0.05), seed=3)):
        ids |= {pose.track_id for pose in tracker.update(poses, scene.frame_info(frame))}
        assert tracker._points is not None
        largest = max(largest, len(tracker._points.ids))

    assert len(ids) > 20
    assert largest < 60
