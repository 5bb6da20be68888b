from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mspn import PoseEstimator
from mspn.config.protocol import FAITHFUL_TEST
from mspn.datasets.people import select_people
from mspn.errors import DetectorError
from mspn.io.images import read_image
from mspn.labels.formats.coco import read_coco
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from mspn.structures.skeletons import COCO_17
from tests.sources.test_in_memory import PillowStandIn
from tests.trained import overfitted


class _TrueBoxes:
    """A detector that knows the answer for the drawn set's first image."""

    def __init__(self, score: float = 0.8) -> None:
        folder, _ = overfitted()
        people = select_people(read_coco(folder / "annotations.json"), folder / "images", COCO_17, "drawn")
        self.image = people.images[0]
        self.truth = people.keypoints_image[people.image_index == 0, :, :2]
        self._boxes = [Box(*box) for box in people.boxes[people.image_index == 0].tolist()]
        self._score = score

    def detect(self, image: Image) -> list[Detection]:
        return [Detection(box, self._score) for box in self._boxes]


def test_poses_lie_on_the_people_in_image_pixels_with_names():
    detector = _TrueBoxes()

    poses = PoseEstimator(overfitted()[1], detector, precision="float32")(detector.image)

    assert len(poses) == 2
    for truth in detector.truth:
        errors = [np.linalg.norm(pose.keypoints_image - truth, axis=1).mean() for pose in poses]
        assert min(errors) < 4
    wrist = poses[0].keypoints["left_wrist"]
    np.testing.assert_allclose(wrist[:2], poses[0].keypoints_image[COCO_17.keypoints.index("left_wrist")])


def test_the_score_is_the_box_score_times_the_mean_keypoint_score():
    detector = _TrueBoxes(score=0.5)

    (pose, _) = PoseEstimator(overfitted()[1], detector, precision="float32")(detector.image)

    assert 0 <= pose.keypoint_scores.min() <= pose.keypoint_scores.max() <= 1
    assert pose.score == pytest.approx(0.5 * pose.keypoint_scores.mean())
    assert pose.box_score == 0.5
    # The released code ranks by raw map values plus 0.5; near-perfect maps exceed 1 here and there.
    assert pose.ranking_score == pytest.approx(pose.score + 0.25, abs=0.05)


class _Doubled(_TrueBoxes):
    """Finds everyone twice, the second time with a lower score."""

    def detect(self, image: Image) -> list[Detection]:
        found = super().detect(image)
        return [Detection(one.box, score) for one in found for score in (0.5, 0.9)]


def test_a_person_found_twice_is_two_poses_unless_the_test_settings_say_otherwise():
    detector = _Doubled()
    once = FAITHFUL_TEST.model_copy(update={"suppression_oks": 0.9})

    every = PoseEstimator(overfitted()[1], detector, precision="float32")(detector.image)
    chosen = PoseEstimator(overfitted()[1], detector, precision="float32", test=once)(detector.image)

    assert sorted(pose.box_score for pose in every) == [0.5, 0.5, 0.9, 0.9]
    assert [pose.box_score for pose in chosen] == [0.9, 0.9]


def test_boxes_under_the_threshold_are_left_out():
    detector = _TrueBoxes(score=0.29)

    assert PoseEstimator(overfitted()[1], detector)(detector.image) == []


def test_without_a_detector_the_whole_image_is_one_person():
    estimator = PoseEstimator(overfitted()[1], "none")

    (pose,) = estimator(np.zeros((120, 80, 3), np.uint8))

    assert pose.box == Box(0, 0, 80, 120)


def test_pixels_and_path_give_the_same_answer():
    detector = _TrueBoxes()
    estimator = PoseEstimator(overfitted()[1], detector, precision="float32")

    by_path, by_pixels = estimator(str(detector.image)), estimator(read_image(detector.image))

    np.testing.assert_array_equal(by_path[0].keypoints_image, by_pixels[0].keypoints_image)


def test_a_stream_gives_a_result_for_each_image_in_order():
    detector = _TrueBoxes()
    estimator = PoseEstimator(overfitted()[1], detector, precision="float32", batch_size=3)
    array = np.zeros((160, 240, 3), np.uint8)

    first, second, third = estimator.stream([detector.image, array, "nowhere.jpg"], keep_pixels=False)

    assert (first.source, second.source, third.source) == (str(detector.image), "", "nowhere.jpg")
    assert [len(one.poses) for one in (first, second, third)] == [2, 2, 0]
    assert third.problems == ["no image, video or folder at nowhere.jpg; check the path"]
    np.testing.assert_allclose(first.poses[0].keypoints_image, estimator(detector.image)[0].keypoints_image, atol=1e-3)


def test_a_single_source_need_not_be_in_a_list():
    estimator = PoseEstimator(overfitted()[1], "none")

    (result,) = estimator.stream(np.zeros((64, 64, 3), np.uint8))

    assert result.image is not None
    assert result.image.pixels.shape == (64, 64, 3)
    with pytest.raises(ValueError, match=r"no image, video or folder at nowhere.jpg"):
        estimator.stream("nowhere.jpg")
    for no_source in (0, None, iter(["a.jpg"])):
        with pytest.raises(TypeError, match="a source is a path, an address, a camera number as text"):
            estimator.stream(no_source)  # type: ignore[arg-type]


def test_the_batch_size_does_not_change_the_answer():
    detector = _TrueBoxes()

    together = PoseEstimator(overfitted()[1], detector, precision="float32")(detector.image)
    alone = PoseEstimator(overfitted()[1], detector, precision="float32", batch_size=1)(detector.image)

    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.keypoints_image, other.keypoints_image, atol=1e-3)


def test_flip_averages_with_the_mirrored_crop():
    folder, weights = overfitted()
    crop = torch.from_numpy(cv2.resize(read_image(folder / "images" / "000000000001.png"), (128, 192)))[None]
    plain = PoseEstimator(weights, "none", precision="float32", test=FAITHFUL_TEST.model_copy(update={"flip": False}))
    flipped = PoseEstimator(weights, "none", precision="float32", test=FAITHFUL_TEST)

    of_crop, of_mirror = (plain.top_down.ensemble.leader.heatmaps(one) for one in (crop, crop.flip(2)))

    expected = (of_crop + of_mirror.flip(-1)[:, COCO_17.mirror_order]) / 2
    torch.testing.assert_close(flipped.top_down.ensemble.leader.heatmaps(crop), expected)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)]
)
def test_an_array_that_is_no_image_is_refused(image: np.ndarray):
    with pytest.raises(ValueError, match=r"give (RGB|uint8) of shape .*\(H, W, 3\)"):
        PoseEstimator(overfitted()[1], "none")(image)


def test_images_of_pillow_are_taken_and_what_is_no_image_is_refused():
    estimator = PoseEstimator(overfitted()[1], "none")

    (pose,) = estimator(PillowStandIn(np.zeros((64, 48, 3), np.uint8)))

    assert pose.box == Box(0, 0, 48, 64)
    with pytest.raises(TypeError, match="an image is a path, an array, a tensor or a Pillow image, not NoneType"):
        estimator(None)  # type: ignore[arg-type]


def test_a_detector_may_be_named_by_its_path(tmp_path: Path):
    with pytest.raises(DetectorError, match=r"no file at .*yolox\.onnx; check the path of the detector"):
        PoseEstimator(overfitted()[1], tmp_path / "yolox.onnx")


def test_a_missing_model_is_an_error_and_never_random_weights(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no weights file at .*missing.safetensors"):
        PoseEstimator(tmp_path / "missing.safetensors")
    with pytest.raises(ValueError, match="there are no weights of mspn-4-384x288 in this version; train it"):
        PoseEstimator("mspn-4-384x288")
    with pytest.raises(ValueError, match="mspn-4-mmpose is not in the cache, and MSPN_OFFLINE forbids downloads"):
        PoseEstimator("mspn-4")


class _Tuples:
    def detect(self, _image: Image) -> list[tuple[float, ...]]:
        return [(0, 0, 10, 20, 0.9)]


def test_a_detector_that_gives_no_detections_is_named():
    estimator = PoseEstimator(overfitted()[1], _Tuples(), precision="float32")

    with pytest.raises(ValueError, match=r"the detector _Tuples must give a list of mspn.Detection, not \["):
        estimator(np.zeros((60, 50, 3), np.uint8))


def test_a_class_is_no_detector():
    with pytest.raises(DetectorError, match="is a class; give an instance of it"):
        PoseEstimator(overfitted()[1], _Tuples)
    with pytest.raises(DetectorError, match=r"has no method detect\(image\)"):
        PoseEstimator(overfitted()[1], 5)
