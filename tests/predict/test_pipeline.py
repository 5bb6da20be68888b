from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn import PoseEstimator
from mspn.detect.boxes_file import BoxesFile
from mspn.picture import Picture
from mspn.predict.pictures import find_pictures, read_pictures
from mspn.predict.pipeline import predict_pictures
from mspn.records import Box, Detection
from tests.trained import overfitted


def test_people_of_many_pictures_share_batches_and_keep_their_pictures():
    folder, weights = overfitted()
    paths = find_pictures([folder / "images"])
    estimator = PoseEstimator(weights, BoxesFile(folder / "annotations.json"), precision="float32", batch_size=3)
    batches = []
    estimate = estimator.estimate
    estimator.estimate = lambda subjects: batches.append(len(subjects)) or estimate(subjects)  # type: ignore[method-assign]

    results = list(predict_pictures(estimator, read_pictures(paths)))

    # Eight people: batches of three are filled to the last place, and two people are left.
    assert batches == [3, 3, 2]
    assert [Path(result.source).name for result in results] == [f"{number:012d}.png" for number in (1, 2, 3, 4)]
    for result, path in zip(results, paths, strict=True):
        alone = estimator(path)
        np.testing.assert_allclose(result.poses[0].keypoints_image, alone[0].keypoints_image, atol=1e-3)


def test_a_picture_that_cannot_be_read_is_reported_in_its_place_and_the_others_are_done(tmp_path: Path):
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "b.jpg").write_text("not a picture")

    results = list(predict_pictures(PoseEstimator(overfitted()[1]), read_pictures(find_pictures([tmp_path]))))

    assert [len(result.poses) for result in results] == [1, 0, 1]
    assert [len(result.problems) for result in results] == [0, 1, 0]
    assert "b.jpg is not a picture that can be read" in results[1].problems[0]


class _OddBoxes:
    def detect(self, picture: Picture) -> list[Detection]:
        good = Detection(Box(5, 5, 40, 50), 0.9)
        empty = Detection(Box(5, 5, 0, 50), 0.9)
        outside = Detection(Box(500, 5, 40, 50), 0.9)
        unknown = Detection(Box(float("nan"), 5, 40, 50), 0.9)
        unsure = Detection(Box(5, 5, 40, 50), float("nan"))
        return [empty, good, outside, unknown, unsure]


def test_boxes_of_no_use_are_reported_and_the_others_are_done(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))

    (result,) = predict_pictures(PoseEstimator(overfitted()[1], _OddBoxes()), read_pictures([tmp_path / "a.png"]))

    assert [pose.box for pose in result.poses] == [Box(5, 5, 40, 50)]
    empty, outside, unknown, unsure = result.problems
    assert "box [5, 5, 0, 50] is empty" in empty
    assert "box [500, 5, 40, 50] lies outside the picture of 64x64 pixels" in outside
    assert "box [nan, 5, 40, 50] has a number that is not finite" in unknown
    assert "score must be from 0 to 1, not nan" in unsure


def test_sources_that_do_not_exist_or_hold_nothing_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no picture or folder at .*nowhere"):
        find_pictures([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match="no pictures in"):
        find_pictures([tmp_path])
