from dataclasses import replace

import numpy as np
import pytest

from mspn.errors import TracksError
from mspn.structures.skeleton import COCO_17, MPII_16, Skeleton
from mspn.tracking.kinematics import measure_kinematics
from mspn.tracking.smoothing import smooth_track
from mspn.tracking.tracks import Track
from tests.walking_figure import walk, with_noise

SECONDS = np.arange(0, 6, 1 / 30)


def make_track(seconds: np.ndarray, keypoints: np.ndarray) -> Track:
    shape = keypoints.shape[:2]
    return Track(1, np.arange(len(seconds)), seconds, keypoints, np.ones(shape), np.zeros(shape, bool))


def person(**places: tuple[float, float]) -> Track:
    """A person in one frame, of whom only some keypoints are seen."""
    keypoints = np.full((1, 17, 2), np.nan)
    for name, place in places.items():
        keypoints[0, COCO_17.keypoints.index(name)] = place
    return make_track(np.zeros(1), keypoints)


def angles_of(track: Track) -> dict[str, float]:
    return {name: float(angle[0]) for name, angle in measure_kinematics(track, COCO_17).angles.items()}


def test_angles_of_a_leg_by_hand():
    # Facing right, upright: the thigh 45 degrees forward, the shank straight down, the arm straight ahead.
    torso = {"nose": (20.0, -20.0), "left_shoulder": (0.0, 0.0), "left_hip": (0.0, 50.0)}
    leg = {"left_knee": (30.0, 80.0), "left_ankle": (30.0, 120.0)}
    arm = {"left_elbow": (30.0, 0.0), "left_wrist": (30.0, -30.0)}

    assert angles_of(person(**torso, **leg, **arm)) == pytest.approx(
        {"left_hip": 45, "left_knee": 45, "left_shoulder": 90, "left_elbow": 90, "trunk_lean": 0}
    )
    mirrored = {name: (-x, y) for name, (x, y) in {**torso, **leg, **arm}.items()}
    assert angles_of(person(**mirrored)) == pytest.approx(angles_of(person(**torso, **leg, **arm)))


def test_the_trunk_leans_forward_and_joints_are_measured_from_it():
    # 45 degrees forward, the thigh straight down, so the hip is bent by 45; a knee bent forward is below 0.
    bent = person(
        nose=(60, -10), left_shoulder=(50, 0), left_hip=(0, 50), left_knee=(0, 90), left_ankle=(7.0533, 129.3732)
    )

    assert angles_of(bent) == pytest.approx(
        {"trunk_lean": 45, "left_hip": 45, "left_knee": -np.degrees(np.arctan2(7.0533, 39.3732))}
    )


def test_an_arm_goes_up_behind_the_ear_without_a_jump():
    for degrees in (170.0, 180.0, 190.0):
        x, y = 30 * np.sin(np.radians(degrees)), 30 * np.cos(np.radians(degrees))
        raised = person(nose=(20, -20), left_shoulder=(0, 0), left_hip=(0, 50), left_elbow=(x, y))
        assert angles_of(raised)["left_shoulder"] == pytest.approx(degrees)


@pytest.mark.parametrize("direction", [1, -1])
def test_angles_of_a_drawn_skeleton_are_within_two_degrees(direction: int):
    motion = walk(SECONDS, direction=direction)
    drawn = np.rint(motion.keypoints)  # in whole pixels, as discs on an image are

    measured = measure_kinematics(smooth_track(make_track(SECONDS, drawn), COCO_17), COCO_17)

    assert measured.angles.keys() == motion.angles.keys()
    for name, truth in motion.angles.items():
        assert np.abs(measured.angles[name] - truth).max() < 2, name
        fastest = np.abs(np.gradient(truth, SECONDS)).max()
        assert measured.ranges[name].extent == pytest.approx(np.ptp(truth), abs=2)
        assert measured.ranges[name].fastest == pytest.approx(fastest, rel=0.15, abs=20)


def test_angles_of_noisy_keypoints_are_on_average_within_three_degrees():
    motion = walk(SECONDS)
    seen = with_noise(motion.keypoints, 0.005)

    measured = measure_kinematics(smooth_track(make_track(SECONDS, seen), COCO_17), COCO_17)

    for name, truth in motion.angles.items():
        assert np.sqrt(np.mean((measured.angles[name] - truth) ** 2)) < 3, name


def test_steps_are_timed():
    motion = walk(SECONDS)
    smoothed = smooth_track(make_track(SECONDS, with_noise(motion.keypoints, 0.005)), COCO_17)

    steps = measure_kinematics(smoothed, COCO_17).steps

    for side, strikes in motion.heel_strikes.items():
        measured = [step.seconds for step in steps if step.side == side]
        np.testing.assert_allclose(measured, [time for time in strikes if 0.3 < time < 5.9], atol=0.04)
    # A stride takes 1.1 s, and a step half of it.
    assert [step.step_seconds for step in steps[:1]] == [None]
    np.testing.assert_allclose([step.step_seconds for step in steps[1:]], 0.55, atol=0.06)
    np.testing.assert_allclose([step.stride_seconds for step in steps[2:]], 1.1, atol=0.06)


def test_someone_who_stands_makes_no_steps():
    seen = with_noise(walk(SECONDS, speed=0, strides=0).keypoints, 0.005)

    assert measure_kinematics(smooth_track(make_track(SECONDS, seen), COCO_17), COCO_17).steps == ()


def test_nothing_is_measured_across_a_long_gap():
    keypoints = walk(SECONDS).keypoints
    whole = make_track(SECONDS, keypoints)
    seen = (SECONDS < 2.0) | (SECONDS > 4.0)

    measured = measure_kinematics(whole.select_frames(seen), COCO_17)

    before = measure_kinematics(whole.select_frames(SECONDS < 2.0), COCO_17)
    for name, velocity in before.velocities.items():
        np.testing.assert_array_equal(measured.velocities[name][: len(velocity)], velocity)
    first_after = next(step for step in measured.steps if step.seconds > 4)
    assert first_after.step_seconds is None


def test_steps_are_not_timed_while_a_foot_is_not_seen():
    keypoints = walk(SECONDS).keypoints.copy()
    keypoints[(SECONDS > 2.0) & (SECONDS < 3.0), COCO_17.keypoints.index("left_ankle")] = np.nan

    steps = measure_kinematics(make_track(SECONDS, keypoints), COCO_17).steps

    assert [round(step.seconds, 1) for step in steps] == [0.5, 1.1, 1.6, 3.3, 3.8, 4.4, 4.9, 5.5]
    assert steps[3].step_seconds is None
    assert steps[4].step_seconds == pytest.approx(0.55, abs=0.02)


def test_left_and_right_are_compared():
    motion = walk(SECONDS)
    measured = measure_kinematics(make_track(SECONDS, motion.keypoints), COCO_17)
    stiff = replace(measured, angles={**measured.angles, "left_knee": measured.angles["left_knee"] / 2})

    assert measured.asymmetries["knee"] == pytest.approx(0, abs=1)
    assert measured.asymmetries["step time"] == pytest.approx(0, abs=1)
    # Half as much is 200 (0.5 - 1) / 1.5.
    assert stiff.asymmetries["knee"] == pytest.approx(-66.7, abs=1)


def test_a_camera_that_does_not_look_at_the_side_is_noticed():
    keypoints = walk(SECONDS, strides=0).keypoints.copy()
    assert measure_kinematics(make_track(SECONDS, keypoints), COCO_17).camera_degrees == 0
    # Shoulders 0.259 of the height apart, seen from 30 degrees off the side: half of that in the image.
    left, right = (COCO_17.keypoints.index(f"{side}_shoulder") for side in ("left", "right"))
    keypoints[:, left, 0] += 0.259 / 4 * 400
    keypoints[:, right, 0] -= 0.259 / 4 * 400
    assert measure_kinematics(make_track(SECONDS, keypoints), COCO_17).camera_degrees == pytest.approx(30, abs=0.5)


def test_other_skeletons_are_measured_by_the_names_that_they_share():
    keypoints = walk(SECONDS).keypoints
    names = [name for name in MPII_16.keypoints if name in COCO_17.keypoints]
    skeleton = Skeleton(name="own", keypoints=[name.title().replace("_", " ") for name in names])
    track = make_track(SECONDS, keypoints[:, [COCO_17.keypoints.index(name) for name in names]])

    measured = measure_kinematics(track, skeleton)  # without a nose: where the hips go is in front

    np.testing.assert_allclose(measured.angles["left_knee"], walk(SECONDS).angles["left_knee"], atol=1e-6)
    with pytest.raises(TracksError, match="fish has no hip and knee, knee and ankle"):
        measure_kinematics(make_track(SECONDS, keypoints[:, :1]), Skeleton(name="fish", keypoints=("fin",)))


def test_keypoints_in_one_place_have_angles_and_no_steps():
    # As a network without training gives them.
    measured = measure_kinematics(make_track(np.arange(3) / 30, np.full((3, 17, 2), 30.0)), COCO_17)

    assert measured.angles["left_knee"].tolist() == [0, 0, 0]
    assert measured.steps == ()
    assert np.isnan(measured.camera_degrees)


def test_one_frame_and_missing_keypoints_give_what_can_be_measured():
    keypoints = walk(SECONDS[:1]).keypoints.copy()
    keypoints[:, COCO_17.keypoints.index("left_knee")] = np.nan

    measured = measure_kinematics(make_track(SECONDS[:1], keypoints), COCO_17)

    assert "left_knee" not in measured.angles
    assert measured.angles["right_knee"] == pytest.approx(walk(SECONDS[:1]).angles["right_knee"])
    assert np.isnan(measured.ranges["right_knee"].fastest)
    assert measured.steps == ()
