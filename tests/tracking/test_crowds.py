"""How well crowds are followed, on scenes with exact ids: see docs/tracking.md for larger ones."""

import numpy as np
import pytest

from mspn.evaluation.tracks import TrackedFrame, TrackingScores, measure_tracking
from mspn.structures.oks import keypoint_similarity
from mspn.structures.skeleton import COCO_17
from mspn.tracking.tracker import Tracker
from tests.moving_people import Detector, make_scene


def _follow(num_people: int, detector: Detector, seed: int) -> TrackingScores:
    scene, tracker = make_scene(num_people, num_seconds=10, seed=seed), Tracker()
    frames = []
    for frame, poses in enumerate(scene.detect(detector, seed)):
        tracked, labels = tracker.update(poses, scene.frame_info(frame)), scene.labels(frame)
        seen = np.array([pose.keypoints_image for pose in tracked]).reshape(-1, 17, 2)
        exact = np.array([pose.keypoints_image for pose in labels.values()]).reshape(-1, 1, 17, 2)
        areas = np.array([pose.box.width * pose.box.height for pose in labels.values()]).reshape(-1, 1, 1)
        distances = np.linalg.norm(exact - seen, axis=-1)
        similarity = keypoint_similarity(distances, areas, np.array(COCO_17.sigmas)).mean(-1)
        ids = np.array([pose.track_id for pose in tracked], int)
        frames.append(TrackedFrame(np.array(list(labels), int), ids, similarity))
    return measure_tracking(frames)


@pytest.mark.parametrize("num_people", [6, 20])
@pytest.mark.parametrize(
    ("detector", "lowest"), [(Detector(), 0.92), (Detector(missed=0.1, false=0.05), 0.82)], ids=["exact", "noisy"]
)
def test_people_of_a_crowd_keep_their_ids(num_people: int, detector: Detector, lowest: float):
    scores = [_follow(num_people, detector, seed) for seed in (200, 201)]

    assert np.mean([score.idf1 for score in scores]) >= lowest
