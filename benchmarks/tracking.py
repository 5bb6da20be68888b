"""How well people are followed, and what each part of that is good for.

Drawn scenes of people who pass each other and a pillar that hides them, with exact ids; or boxes of a MOTChallenge
file, a tenth of them dropped and the others moved by 2 % of their size. The scenes' seeds are not those that the
settings were chosen on.

python -m benchmarks.tracking [--boxes gt.txt ...]
"""

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from mspn.evaluation.tracks import Frames, TrackedFrame, TrackingScores, measure_tracking, read_videos
from mspn.structures.boxes import Box, iou, to_xyxy
from mspn.structures.oks import keypoint_similarity
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17
from mspn.tracking.association import Motion
from mspn.tracking.tracker import BOX_SIGMAS, TRACKER_DEFAULTS, PointTracker, Tracker, TrackerSettings, observe_boxes
from tests.moving_people import FRAMES_PER_SECOND, Detector, Scene, make_scene

_NUM_PEOPLE = (6, 12, 20)
_SCENE_SECONDS = 16
_SEEDS = range(100, 104)
_EVERY = (1, 5)
_CLEAN, _NOISY = Detector(), Detector(missed=0.1, false=0.05)
_LOW_SCORE = 0.1
_NUM_LONG_FRAMES = 10_000


class _Variant(NamedTuple):
    """The tracker with a part taken away."""

    name: str
    has_motion: bool = True
    has_buffer: bool = True
    has_second_association: bool = True


_VARIANTS = (
    _Variant("as it is"),
    _Variant("no motion model", has_motion=False),
    _Variant("no track buffer", has_buffer=False),
    _Variant("no second association", has_second_association=False),
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    print("| scenes | frames | tracker | IDF1 | HOTA | MOTA | switches |\n|---|---|---|---|---|---|---|")
    for name, detector in (("exact", _CLEAN), ("10 % missed, 5 % false", _NOISY)):
        for every in _EVERY:
            for variant in _VARIANTS:
                _print_row((name, _name_rate(every), variant.name), _score_scenes(detector, every, variant))
    for path in options.boxes:
        ((name, frames),) = read_videos(path).items()
        for every in _EVERY:
            for variant in _VARIANTS[:3]:
                runs = [_follow_boxes(frames, every, variant, seed) for seed in _SEEDS]
                _print_row((name, _name_rate(every), variant.name), runs)
    _print_cost()


def _name_rate(every: int) -> str:
    return "all" if every == 1 else f"every {every}th"


def _print_row(names: Sequence[str], runs: Sequence[TrackingScores]) -> None:
    shares = [np.mean([getattr(run, name) for run in runs]) for name in ("idf1", "hota", "mota")]
    switches = np.mean([run.num_switches for run in runs])
    print(f"| {' | '.join(names)} | {' | '.join(f'{share:.3f}' for share in shares)} | {switches:.1f} |", flush=True)


@contextmanager
def _without_parts(variant: _Variant, every: int) -> Iterator[TrackerSettings]:
    """The settings of a variant, where it has no motion with people who are expected to stay where they were."""
    with ExitStack() as stack:
        if not variant.has_motion:
            stack.enter_context(patch.object(Motion, "predict"))
        between_frames = 1.5 * every / FRAMES_PER_SECOND
        yield TRACKER_DEFAULTS if variant.has_buffer else TrackerSettings(patience_seconds=between_frames)


def _score_scenes(detector: Detector, every: int, variant: _Variant) -> list[TrackingScores]:
    scenes = (
        (make_scene(count, num_seconds=_SCENE_SECONDS, seed=seed), seed) for count in _NUM_PEOPLE for seed in _SEEDS
    )
    with _without_parts(variant, every) as settings:
        lowest = _LOW_SCORE if variant.has_second_association else settings.confident_score
        return [measure_tracking(list(_follow_scene(*scene, detector, every, settings, lowest))) for scene in scenes]


def _follow_scene(
    scene: Scene, seed: int, detector: Detector, every: int, settings: TrackerSettings, lowest: float
) -> Iterator[TrackedFrame]:
    tracker = Tracker(settings)
    for frame, poses in enumerate(scene.detect(detector, seed)):
        if frame % every == 0:
            seen = [pose for pose in poses if pose.box_score >= lowest]
            tracked = tracker.update(seen, scene.frame_info(frame))
            labels = scene.labels(frame)
            ids = np.array([pose.track_id for pose in tracked], int)
            yield TrackedFrame(np.array(list(labels), int), ids, _oks(list(labels.values()), tracked))


def _oks(labels: Sequence[Pose], poses: Sequence[Pose]) -> np.ndarray:
    if not labels or not poses:
        return np.zeros((len(labels), len(poses)))
    first, second = (np.stack([pose.keypoints_image for pose in group]) for group in (labels, poses))
    areas = np.array([label.box.width * label.box.height for label in labels])[:, None, None]
    distances = np.linalg.norm(first[:, None] - second, axis=-1)
    return np.asarray(keypoint_similarity(distances, areas, np.array(COCO_17.sigmas)).mean(-1))


def _follow_boxes(frames: Frames, every: int, variant: _Variant, seed: int) -> TrackingScores:
    random = np.random.default_rng(seed)
    compared = []
    with _without_parts(variant, every) as settings:
        tracker = PointTracker(BOX_SIGMAS, settings)
        for number in sorted(frames)[::every]:
            labels = np.array([person.box for person in frames[number]], float)
            kept = labels[random.random(len(labels)) >= 0.1]
            seen = kept + 0.02 * np.tile(kept[:, 2:], 2) * random.normal(size=kept.shape)
            boxes = observe_boxes([Box(*box) for box in seen.tolist()])
            ids = tracker.update(boxes, np.ones(len(seen)), number / FRAMES_PER_SECOND)
            similarity = iou(to_xyxy(labels)[:, None], to_xyxy(seen[ids > 0]))
            label_ids = np.array([person.track_id for person in frames[number]], int)
            compared.append(TrackedFrame(label_ids, ids[ids > 0], similarity))
    return measure_tracking(compared)


def _print_cost() -> None:
    """Processor time of a frame with twenty people, and how memory grows over many frames."""
    standing = make_scene(20, num_seconds=8, seed=0)
    poses = [next(iter(standing.labels(frame).values())) for frame in range(20, 40)]
    people = [_moved(pose, 60.0 * place) for place, pose in enumerate(poses)]
    tracker = Tracker()
    sizes = []
    start = time.process_time()
    for frame in range(_NUM_LONG_FRAMES):
        shift = 50 * np.sin(frame / 25)
        tracker.update([_moved(pose, shift) for pose in people], frame / FRAMES_PER_SECOND)
        if frame in (500, _NUM_LONG_FRAMES - 1):
            sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    milliseconds = 1000 * (time.process_time() - start) / _NUM_LONG_FRAMES
    print(f"\n20 people: {milliseconds:.2f} ms a frame of processor time, with making their poses")
    print(f"memory after 500 and {_NUM_LONG_FRAMES} frames: {sizes[0]:.1f} and {sizes[1]:.1f} MiB")


def _moved(pose: Pose, right: float) -> Pose:
    box = Box(pose.box.left + right, *pose.box[1:])
    return Pose(pose.skeleton, np.add(pose.keypoints_image, (right, 0)), pose.keypoint_scores, 0.9, 0.9, box, 0.9)


if __name__ == "__main__":
    main()
