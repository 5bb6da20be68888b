import asyncio
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mspn import PoseEstimator
from mspn.checkpoints.networks import load_named
from mspn.config.protocol import FAITHFUL_TEST
from mspn.datasets.people import select_people
from mspn.detectors.slices import SlicedDetector
from mspn.errors import DetectorError, MspnError
from mspn.inference.devices import Engine
from mspn.io.images import read_image
from mspn.io.limits import InputLimits
from mspn.labels.formats.coco import read_coco
from mspn.predict.estimator import Model
from mspn.predict.heatmaps import member_heatmaps
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from mspn.structures.skeleton import COCO_17
from tests.sources.test_in_memory import PillowStandIn
from tests.trained import overfitted
from tests.untrained import untrained_weights


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
    assert all(pose.colors is not None and pose.colors.shape == (2, 3) for pose in poses)
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


def _scores(estimator: PoseEstimator, detector: _Doubled) -> list[float]:
    (streamed,) = estimator.stream(detector.image)
    found = sorted(pose.box_score for pose in estimator(detector.image))
    assert sorted(pose.box_score for pose in streamed.poses) == found
    return found


def test_a_person_found_twice_is_one_pose():
    detector = _Doubled()

    assert _scores(PoseEstimator(overfitted()[1], detector), detector) == [0.9, 0.9]


def test_a_person_found_twice_is_two_poses_where_nothing_is_suppressed():
    detector, weights = _Doubled(), overfitted()[1]
    # Nothing is more similar than 1, and the protocol's own threshold comes first.
    lenient = FAITHFUL_TEST.model_copy(update={"suppression_oks": 1.0})
    strict = FAITHFUL_TEST.model_copy(update={"suppression_oks": 0.9})

    assert _scores(PoseEstimator(weights, detector, suppression_oks=None), detector) == [0.5, 0.5, 0.9, 0.9]
    assert _scores(PoseEstimator(weights, detector, test=lenient), detector) == [0.5, 0.5, 0.9, 0.9]
    assert _scores(PoseEstimator(weights, detector, test=strict, suppression_oks=None), detector) == [0.9, 0.9]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("threshold", value) for value in (2, -1, float("nan"))),
        *(("suppression_oks", value) for value in (0, 1.5, float("nan"))),
        ("batch_size", 0),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(setting: str, value: float):
    with pytest.raises(MspnError, match=f"{setting}: "):
        PoseEstimator("mspn-tiny", "none", **{setting: value})  # type: ignore[arg-type]


def test_given_boxes_take_the_place_of_the_detector():
    boxes = [(20, 10, 40, 80), Box(60, 0, 50, 100), Detection(Box(5, 5, 30, 60), 0.1)]
    estimator = PoseEstimator("mspn-tiny", "none", precision="float32", suppression_oks=None)
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)

    poses = estimator(image, boxes)

    assert {pose.box: pose.box_score for pose in poses} == {
        Box(20, 10, 40, 80): 1.0,
        Box(60, 0, 50, 100): 1.0,
        Box(5, 5, 30, 60): 0.1,
    }
    assert {pose.box for pose in estimator(image, np.array([[20, 10, 40, 80]]))} == {Box(20, 10, 40, 80)}
    assert estimator(image, []) == []
    with pytest.raises(MspnError, match=r"a box is four numbers, .* not \(1, 2, 3\)"):
        estimator(image, [(1, 2, 3)])
    with pytest.raises(MspnError, match=r"a box is four numbers, .* not 20"):
        estimator(image, (20, 10, 40, 80))  # type: ignore[arg-type]
    with pytest.raises(MspnError, match="lies outside the image of 160x120 pixels"):
        estimator(image, [(200, 10, 40, 80)])


def test_images_of_a_list_have_the_poses_that_each_has_alone():
    estimator = PoseEstimator("mspn-tiny", "none", precision="float32")
    images = [np.random.default_rng(seed).integers(0, 256, (64 + seed, 48, 3), np.uint8) for seed in range(3)]
    boxes = [[(0, 0, 20, 40), (20, 0, 28, 64)], None, []]

    results = estimator(images, boxes=boxes)

    assert [len(poses) for poses in results] == [2, 1, 0]
    for poses, image, own in zip(results, images, boxes, strict=True):
        for pose, alone in zip(poses, estimator(image, own), strict=True):
            assert pose.box == alone.box
            np.testing.assert_allclose(pose.keypoints_image, alone.keypoints_image, atol=1e-3)
    assert [len(poses) for poses in estimator(tuple(images))] == [1, 1, 1]
    assert estimator([]) == []
    with pytest.raises(MspnError, match="boxes for 1 images, but there are 3; give a list for each"):
        estimator(images, boxes=[[]])


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        *(("walk.mp4", "a video"), (".", "a folder"), ("*.jpg", "a pattern"), ("0", "the number of a camera")),
        *(("https://example.com/a.jpg", "an address"), ("-", "a list on standard input")),
    ],
)
def test_what_may_hold_several_images_says_what_takes_it(
    source: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("walk.mp4").touch()
    estimator = PoseEstimator("mspn-tiny", "none")

    with pytest.raises(MspnError) as caught:
        estimator(source)

    takes = f"PoseEstimator().stream({source!r}) takes it"
    assert str(caught.value) == f"{source} is {kind}, and one image is wanted here; {takes}"


@pytest.mark.parametrize("image", ["", [""]])
def test_an_empty_name_is_refused(image: Any):
    with pytest.raises(MspnError, match="the path of the image is empty"):
        PoseEstimator("mspn-tiny", "none")(image)


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="a file that is there and cannot be read")
def test_a_file_that_cannot_be_read_is_one_line():
    with pytest.raises(MspnError, match="/proc/self/mem"):
        PoseEstimator("mspn-tiny", "none")("/proc/self/mem")


class _Left:
    """A detector that can be pickled."""

    def detect(self, _image: Image) -> list[Detection]:
        return [Detection(Box(0, 0, 20, 40), 0.5)]


@pytest.mark.parametrize("model", ["mspn-tiny", load_named("mspn-tiny")])
def test_a_pickled_estimator_has_the_same_settings(model: Model):
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    flipless = FAITHFUL_TEST.model_copy(update={"flip": False})
    estimator = PoseEstimator(model, _Left(), precision="float32", test=flipless, threshold=0.4, batch_size=3)

    other = pickle.loads(pickle.dumps(estimator))

    assert (other.precision, other.test) == ("float32", flipless)
    assert (other.top_down.threshold, other.top_down.batch_size) == (0.4, 3)
    for pose, same in zip(estimator(image), other(image), strict=True):
        np.testing.assert_array_equal(pose.keypoints_image, same.keypoints_image)
        assert pose.box == same.box == Box(0, 0, 20, 40)


def test_a_named_detector_is_asked_for_its_size_and_slices():
    estimator = PoseEstimator("mspn-tiny", "default", detector_size=64, detector_slices=2)

    other = pickle.loads(pickle.dumps(estimator))

    assert isinstance(other.top_down.detector, SlicedDetector)
    assert other([np.zeros((64, 48, 3), np.uint8)]) == [[]]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"detector": _Left(), "detector_size": 64}, "are for a detector that is named; make this one with them"),
        ({"detector": _Left(), "detector_slices": 2}, "are for a detector that is named; make this one with them"),
        ({"detector_size": 100}, "detector_size: Input should be a multiple of 32"),
        ({"detector_size": 4128}, "detector_size: Input should be less than or equal to 4096"),
        ({"detector_slices": 0}, "detector_slices: Input should be greater than or equal to 1"),
        ({"detector": "none", "detector_size": 64}, "none has no settings; leave side=64 out"),
    ],
)
def test_sizes_and_slices_that_do_not_fit_are_refused(settings: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        PoseEstimator("mspn-tiny", **settings)


@pytest.mark.parametrize("engine", ["torch", "openvino", "onnxruntime"])
def test_estimators_in_threads_and_tasks_and_streams_give_what_one_after_the_other_gives(
    engine: Engine, tmp_path: Path
):
    for library in ("onnx", engine):
        pytest.importorskip(library)
    weights = untrained_weights(tmp_path)
    estimators = [PoseEstimator(weights, "none", precision="float32", engine=engine) for _ in range(2)]
    images = [np.random.default_rng(seed).integers(0, 256, (64, 48, 3), np.uint8) for seed in range(4)]
    expected = [estimators[0](image)[0].keypoints_image for image in images]
    work = [(estimator, image) for estimator in estimators for image in images] * 3

    def keypoints(job: tuple[PoseEstimator, np.ndarray]) -> np.ndarray:
        return job[0](job[1])[0].keypoints_image

    def streamed(estimator: PoseEstimator) -> list[np.ndarray]:
        # Another batch of the same images may differ by rounding: one person a batch, as above.
        return [result.poses[0].keypoints_image for image in images for result in estimator.stream(image)]

    async def tasks() -> list[np.ndarray]:
        return await asyncio.gather(*(asyncio.to_thread(keypoints, job) for job in work))

    with ThreadPoolExecutor(4) as pool:
        threads = list(pool.map(keypoints, work))
        streams = list(pool.map(streamed, estimators * 2))

    np.testing.assert_array_equal(threads, expected * 6)
    np.testing.assert_array_equal(asyncio.run(tasks()), expected * 6)
    np.testing.assert_array_equal(streams, [expected] * 4)


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

    of_crop, of_mirror = (member_heatmaps(plain.top_down.ensemble.leader, one) for one in (crop, crop.flip(2)))

    expected = (of_crop + of_mirror.flip(-1)[:, COCO_17.mirror_order]) / 2
    torch.testing.assert_close(member_heatmaps(flipped.top_down.ensemble.leader, crop), expected)


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


def test_limits_hold_for_streams():
    (result,) = PoseEstimator("mspn-tiny", "none").stream("http://127.0.0.1/a.jpg")
    (allowed,) = PoseEstimator("mspn-tiny", "none").stream(
        "http://127.0.0.1:9/a.jpg", limits=InputLimits(own_addresses=frozenset({"http://127.0.0.1:9/a.jpg"}))
    )

    assert "127.0.0.1 is not on the public internet" in result.problems[0]
    assert "cannot be reached" in allowed.problems[0]
