from collections.abc import Sequence

import numpy as np

from mspn.predict.estimator import OnlineSmoother
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box, Size
from mspn.structures.image import FrameInfo, Image, Video
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17
from mspn.tracking.one_euro import OneEuroFilter

WALK, RUN = (Video(name, Size(64, 64), None, None, is_live=False) for name in ("walk.mp4", "run.mp4"))


def noisy_keypoints(seed: int, num_frames: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 10, (num_frames, 17, 2))


def person(keypoints: np.ndarray, track_id: int | None) -> Pose:
    return Pose(COCO_17, keypoints, np.full(17, 0.5), 0.4, 0.9, Box(30, 30, 40, 40), 0.8, track_id)


def result(video: Video | None, index: int, poses: Sequence[Pose]) -> ImageResult:
    frame = None if video is None else FrameInfo(video, index, index / 25)
    return ImageResult("walk.mp4", Image("walk.mp4", np.zeros((64, 64, 3), np.uint8), frame), list(poses), [])


def filtered(keypoints: np.ndarray) -> np.ndarray:
    """(F, 17, 2) of one person as the filter smooths them, 25 frames a second."""
    smoother = OneEuroFilter()
    scores = np.full((1, 17), 0.5)
    return np.concatenate(
        [smoother.update(np.array([1]), points[None], scores, row / 25) for row, points in enumerate(keypoints)]
    )


def test_people_are_smoothed_by_their_ids_and_others_left_as_they_are():
    first, second, nobody = (noisy_keypoints(seed, 5) for seed in range(3))
    smoother = OnlineSmoother()
    for row in range(5):
        people = [person(first[row], 7), person(nobody[row], None), person(second[row], 2)]
        smoothed = smoother.smooth(result(WALK, row, people[:: 1 if row % 2 else -1])).poses
        by_id = {pose.track_id: pose.keypoints_image for pose in smoothed}
        np.testing.assert_allclose(by_id[7], filtered(first)[row])
        np.testing.assert_allclose(by_id[2], filtered(second)[row])
        np.testing.assert_array_equal(by_id[None], nobody[row])
        assert [pose.track_id for pose in smoothed] == ([7, None, 2] if row % 2 else [2, None, 7])
    assert np.abs(filtered(first)[4] - first[4]).max() > 1


def test_another_video_begins_anew_and_images_stay_as_they_are():
    keypoints = noisy_keypoints(3, 3)
    smoother = OnlineSmoother()
    smoother.smooth(result(WALK, 0, [person(keypoints[0], 1)]))

    (image,) = smoother.smooth(result(None, 0, [person(keypoints[1], 1)])).poses
    (first,) = smoother.smooth(result(RUN, 1, [person(keypoints[1], 1)])).poses

    np.testing.assert_array_equal(image.keypoints_image, keypoints[1])
    np.testing.assert_array_equal(first.keypoints_image, keypoints[1])
