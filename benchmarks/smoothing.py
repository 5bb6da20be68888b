"""What smoothing takes away from noise, and what it costs, on a drawn figure whose keypoints are known.

python -m benchmarks.smoothing
"""

import time
from collections.abc import Callable, Mapping

import numpy as np

from mspn.structures.shapes import Float
from mspn.structures.skeleton import COCO_17
from mspn.tracking.kinematics import measure_kinematics
from mspn.tracking.one_euro import OneEuroFilter
from mspn.tracking.smoothing import smooth_track
from mspn.tracking.tracks import Track
from tests.motion_errors import frames_behind, mean_error, overshoot
from tests.walking_figure import Motion, jump, walk, walk_and_stop, with_noise

_SECONDS = np.arange(0, 8, 1 / 30)
_STOP_FRAME = 120
_SEEDS = range(5)
_NOISE_SHARES = (0.02, 0.01, 0.005)
_NUM_TIMED_PEOPLE = 20

Smoother = Callable[[Float[np.ndarray, "F K 2"]], Float[np.ndarray, "F K 2"]]


def main() -> None:
    """Print the tables."""
    motions: Mapping[str, Motion] = {
        "walks": walk(_SECONDS),
        "jumps": jump(_SECONDS),
        "stops at once": walk_and_stop(_SECONDS, stop_at=_SECONDS[_STOP_FRAME], speed=2.0),
    }
    smoothers: Mapping[str, Smoother] = {"online": smooth_online, "offline": smooth_offline}
    print(
        "| noise | motion | smoothing | less error | lag, frames | overshoot |", "|---|---|---|---|---|---|", sep="\n"
    )
    for noise in _NOISE_SHARES:
        for motion_name, motion in motions.items():
            for name, smooth in smoothers.items():
                print(f"| {noise:.1%} | {motion_name} | {name} | {describe(motion.keypoints, noise, smooth)} |")
    print("\n| noise | hip | knee | shoulder | elbow | trunk | step time |", "|---|---|---|---|---|---|---|", sep="\n")
    for noise in _NOISE_SHARES:
        print(f"| {noise:.1%} | {' | '.join(measure_angle_errors(noise))} |")
    print(f"\none frame of {_NUM_TIMED_PEOPLE} people, online: {time_online():.2f} ms")
    print(f"{len(_SECONDS)} frames of a person, offline: {time_offline():.0f} ms")


def smooth_online(keypoints: Float[np.ndarray, "F K 2"]) -> Float[np.ndarray, "F K 2"]:
    smoother, scores = OneEuroFilter(), np.ones((1, keypoints.shape[1]))
    person = np.array([1])
    frames = [
        smoother.update(person, points[None], scores, second)
        for second, points in zip(_SECONDS, keypoints, strict=True)
    ]
    return np.concatenate(frames)


def smooth_offline(keypoints: Float[np.ndarray, "F K 2"]) -> Float[np.ndarray, "F K 2"]:
    return smooth_track(make_track(keypoints), COCO_17).keypoints


def make_track(keypoints: Float[np.ndarray, "F K 2"]) -> Track:
    shape = keypoints.shape[:2]
    return Track(1, np.arange(shape[0]), _SECONDS, keypoints, np.ones(shape), np.zeros(shape, bool))


def describe(truth: Float[np.ndarray, "F K 2"], noise: float, smooth: Smoother) -> str:
    """Cells of the table: means over seeds of the error, the largest lag and overshoot."""
    reductions, lags, overshoots = [], [], []
    for seed in _SEEDS:
        seen = with_noise(truth, noise, seed)
        smoothed = smooth(seen)
        reductions.append(1 - mean_error(smoothed, truth) / mean_error(seen, truth))
        lags.append(frames_behind(smoothed, truth))
        overshoots.append(overshoot(smoothed, truth, since=_STOP_FRAME))
    return f"{np.mean(reductions):.0%} | {max(lags)} | {max(overshoots):.1%}"


def measure_angle_errors(noise: float) -> list[str]:
    """Root mean square errors of a walker's angles in degrees, and of step times, after smoothing."""
    motion = walk(_SECONDS)
    errors: dict[str, list[float]] = {}
    step_errors: list[float] = []
    for seed in _SEEDS:
        track = smooth_track(make_track(with_noise(motion.keypoints, noise, seed)), COCO_17)
        measured = measure_kinematics(track, COCO_17)
        for name, truth in motion.angles.items():
            errors.setdefault(name.split("_")[-1], []).append(
                float(np.sqrt(np.mean((measured.angles[name] - truth) ** 2)))
            )
        step_errors += [step.step_seconds - 0.55 for step in measured.steps if step.step_seconds]
    joints = [f"{np.mean(errors[name]):.1f}°" for name in ("hip", "knee", "shoulder", "elbow", "lean")]
    return [*joints, f"{1000 * float(np.sqrt(np.mean(np.square(step_errors)))):.0f} ms"]


def time_online() -> float:
    """Milliseconds a frame."""
    people = np.stack([with_noise(walk(_SECONDS).keypoints, 0.01, seed) for seed in range(_NUM_TIMED_PEOPLE)], axis=1)
    smoother, scores, names = OneEuroFilter(), np.ones(people.shape[1:3]), np.arange(_NUM_TIMED_PEOPLE)
    start = time.process_time()
    for frame in range(len(_SECONDS)):
        smoother.update(names, people[frame], scores, _SECONDS[frame])
    return 1000 * (time.process_time() - start) / len(_SECONDS)


def time_offline() -> float:
    """Milliseconds a track."""
    seen = with_noise(walk(_SECONDS).keypoints, 0.01)
    start = time.process_time()
    smooth_offline(seen)
    return 1000 * (time.process_time() - start)


if __name__ == "__main__":
    main()
