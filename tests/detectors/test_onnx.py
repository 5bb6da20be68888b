import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from mspn.detectors.onnx import OnnxDetector, OnnxSettings
from mspn.detectors.precomputed import BoxesFile
from mspn.errors import DetectorError
from mspn.io.images import read_image
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from tests.detectors.family_outputs import nanodet_outputs, rtmdet_outputs, yolox_outputs
from tests.detectors.onnx_files import write_adder, write_answers, write_detr

_PHOTOS = Path(os.environ.get("MSPN_DATA", "data")) / "coco_sample"
_NANODET = _PHOTOS.parents[1] / "models" / "nanodet.onnx"
_WIDE = Image("wide.jpg", np.zeros((64, 128, 3), np.uint8))


def test_boxes_come_back_from_a_letterbox_to_the_image(tmp_path: Path):
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs())

    found = OnnxDetector(path).detect(_WIDE)

    # Corners (24, 12, 56, 28) of an image that is shown at half its size.
    (person,) = found
    np.testing.assert_allclose(person.box, [48, 24, 64, 32], atol=1e-3)
    assert person.score == pytest.approx(0.4)


def test_boxes_come_back_from_a_stretched_image(tmp_path: Path):
    shares = np.array([[[0.25, 0.5, 0.75, 1.0], [0, 0, 0.5, 0.5]]], np.float32)
    path = write_detr(tmp_path / "dfine.onnx", np.array([[0, 16]]), shares, np.array([[0.75, 0.9]], np.float32))

    assert OnnxDetector(path, "dfine").detect(_WIDE) == [Detection(Box(32, 32, 64, 32), 0.75)]


@pytest.mark.parametrize(
    ("outputs", "cell", "score", "box"),
    [
        (yolox_outputs(), 64 + 1 * 4 + 2, 0.4, [24, 12, 56, 28]),
        (nanodet_outputs(), 64 + 16 + 2, 0.6, [0, 16, 48, 64]),
    ],
)
def test_each_cell_has_the_score_and_the_box_of_a_person(
    tmp_path: Path, outputs: dict[str, np.ndarray], cell: int, score: float, box: list[float]
):
    detector = OnnxDetector(write_answers(tmp_path / "network.onnx", outputs))

    scores, boxes = detector.score_cells(np.zeros((64, 64, 3), np.uint8))

    assert scores.shape == (64 + 16 + 4,)
    assert np.flatnonzero(scores).tolist() == [cell]
    assert scores[cell] == pytest.approx(score)
    np.testing.assert_allclose(boxes[cell], box, atol=1e-3)


def test_cells_that_see_a_dog_see_nobody(tmp_path: Path):
    detector = OnnxDetector(write_answers(tmp_path / "yolox.onnx", yolox_outputs(category=16)))

    assert not detector.score_cells(np.zeros((64, 64, 3), np.uint8))[0].any()


def test_networks_without_cells_and_images_of_another_size_have_no_scores_by_cell(tmp_path: Path):
    with_cells = OnnxDetector(write_answers(tmp_path / "yolox.onnx", yolox_outputs()))
    without = OnnxDetector(write_answers(tmp_path / "rtmdet.onnx", rtmdet_outputs()))

    with pytest.raises(DetectorError, match=r"yolox\.onnx is for 64x64 pixels, not for 64x32"):
        with_cells.score_cells(np.zeros((64, 32, 3), np.uint8))
    with pytest.raises(DetectorError, match="does not tell which cell"):
        without.score_cells(np.zeros((64, 64, 3), np.uint8))


def test_people_of_another_number_are_found_when_it_is_said(tmp_path: Path):
    path = write_answers(tmp_path / "rtmdet.onnx", rtmdet_outputs())

    dogs = OnnxDetector(path, settings=OnnxSettings(person=16)).detect(_WIDE)

    # A dog's corners (0, 0, 16, 16), doubled.
    assert [dog.box for dog in dogs] == [Box(0, 0, 32, 32)]


def test_a_box_in_the_padding_is_none(tmp_path: Path):
    outputs = {"dets": np.array([[[8, 40, 40, 60, 0.9]]], np.float32), "labels": np.array([[0]])}

    # The image ends at row 32 of the input.
    assert OnnxDetector(write_answers(tmp_path / "a.onnx", outputs)).detect(_WIDE) == []


def test_boxes_without_end_end_with_the_image_and_boxes_nowhere_are_none(tmp_path: Path):
    outputs = yolox_outputs()
    outputs["output"][0, 70, 2:4] = np.inf
    outputs["output"][0, 71] = outputs["output"][0, 70]
    outputs["output"][0, 71, 0] = np.nan

    (person,) = OnnxDetector(write_answers(tmp_path / "yolox.onnx", outputs)).detect(_WIDE)

    assert person.box == Box(0, 0, 128, 64)


def test_nobody_in_the_image_is_an_empty_list(tmp_path: Path):
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs(category=16))

    assert OnnxDetector(path).detect(_WIDE) == []


def test_the_papers_rule_counts_boxes_of_all_categories(tmp_path: Path):
    # A hundred dogs are better than the person.
    dets = np.array([[[0, 0, 32, 32, 0.9]] * 100 + [[8, 8, 40, 56, 0.7]]], np.float32)
    path = write_answers(tmp_path / "rtmdet.onnx", {"dets": dets, "labels": np.array([[16] * 100 + [0]])})

    assert OnnxDetector(path, settings=OnnxSettings(rule="top-100")).detect(_WIDE) == []
    assert len(OnnxDetector(path).detect(_WIDE)) == 1


def test_the_papers_rule_is_refused_where_a_network_sees_people_alone(tmp_path: Path):
    path = write_answers(tmp_path / "people.onnx", {"output": yolox_outputs()["output"][..., :6]})

    with pytest.raises(DetectorError, match=r"people.onnx detects only people, .* use the rule people"):
        OnnxDetector(path, settings=OnnxSettings(rule="top-100"))


def test_people_among_unknown_categories_must_be_named(tmp_path: Path):
    path = write_answers(tmp_path / "voc.onnx", {"output": yolox_outputs(category=14)["output"][..., :25]})

    with pytest.raises(DetectorError, match=r"tells 20 categories apart, not COCO's; .*voc.onnx,person=0"):
        OnnxDetector(path)
    assert len(OnnxDetector(path, settings=OnnxSettings(person=14)).detect(_WIDE)) == 1


def test_a_category_that_is_not_there_is_refused(tmp_path: Path):
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs())

    with pytest.raises(DetectorError, match=r"has categories 0 to 79, and person=80 is none of them"):
        OnnxDetector(path, settings=OnnxSettings(person=80))


def test_outputs_of_no_family_are_named(tmp_path: Path):
    path = write_answers(tmp_path / "odd.onnx", {"out": np.zeros((1, 84, 8400), np.float32)})

    with pytest.raises(DetectorError, match=r"outputs \(out 1x84x8400\) of another form than any of nanodet, yolox"):
        OnnxDetector(path)


def test_a_family_that_the_file_is_not_of_is_refused(tmp_path: Path):
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs())

    with pytest.raises(
        DetectorError, match=r"outputs \(output 1x84x85\) of another form than rtmdet; docs/detectors.md"
    ):
        OnnxDetector(path, "rtmdet")


def test_a_file_that_may_be_of_two_families_wants_to_be_told(tmp_path: Path):
    queries = {"logits": np.zeros((1, 3, 80), np.float32), "pred_boxes": np.zeros((1, 3, 4), np.float32)}
    path = write_answers(tmp_path / "both.onnx", rtmdet_outputs() | queries)

    with pytest.raises(
        DetectorError, match=r"of several families .* rtmdet:.*both.onnx \(there are rtmdet, rtdetr, df"
    ):
        OnnxDetector(path)
    assert len(OnnxDetector(path, "rtmdet").detect(_WIDE)) == 1


def test_an_open_size_must_be_said(tmp_path: Path):
    path = write_answers(tmp_path / "open.onnx", yolox_outputs(), {"images": ("batch", 3, "height", "width")})

    with pytest.raises(DetectorError, match=r"leaves the size of its input open; .*open.onnx,side=640"):
        OnnxDetector(path)
    assert len(OnnxDetector(path, settings=OnnxSettings(side=64)).detect(_WIDE)) == 1


def test_a_fixed_size_cannot_be_changed(tmp_path: Path):
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs())

    with pytest.raises(DetectorError, match=r"takes 64x64 pixels and no others; leave side=96 out"):
        OnnxDetector(path, settings=OnnxSettings(side=96))


def test_a_size_without_end_is_refused(tmp_path: Path):
    path = write_answers(tmp_path / "large.onnx", yolox_outputs(), {"images": (1, 3, 100000, 64)})

    with pytest.raises(DetectorError, match=r"takes 100000x64 pixels; detectors of up to 4096 are run"):
        OnnxDetector(path)


def test_a_size_that_the_network_cannot_take_is_told(tmp_path: Path):
    with pytest.raises(DetectorError, match=r"does not run on 96x96 pixels \(.*\); export it again, or give the size"):
        OnnxDetector(write_adder(tmp_path / "adder.onnx"), settings=OnnxSettings(side=96))


@pytest.mark.parametrize(
    "inputs", [{"images": (1, 64, 64, 3)}, {"images": (8, 3, 64, 64)}, {"a": (1, 3, 64, 64), "b": (1, 3, 64, 64)}]
)
def test_a_network_that_takes_anything_but_an_image_is_refused(tmp_path: Path, inputs: dict[str, Any]):
    path = write_answers(tmp_path / "odd.onnx", yolox_outputs(), inputs)

    with pytest.raises(DetectorError, match=r"must have one input \(1, 3, height, width\) of float numbers, but has "):
        OnnxDetector(path)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"this is no network")

    with pytest.raises(
        DetectorError, match=r"broken.onnx is no ONNX file that onnxruntime .* can read .*; is it whole"
    ):
        OnnxDetector(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DetectorError, match=r"no file at .*absent.onnx; check the path of the detector"):
        OnnxDetector(tmp_path / "absent.onnx")


def test_onnxruntime_is_asked_for_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(DetectorError, match=r"a.onnx needs onnxruntime; pip install 'mspn\[onnx\]'"):
        OnnxDetector(tmp_path / "a.onnx")


def test_numbers_that_are_none_are_an_error_of_that_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    detector = OnnxDetector(write_answers(tmp_path / "yolox.onnx", yolox_outputs()))
    broken = {"output": np.full((1, 84, 85), np.nan, np.float32)}
    monkeypatch.setattr("mspn.detectors.onnx.OnnxNetwork.run", lambda *_: broken)

    with pytest.raises(
        DetectorError, match=r"gives numbers that are no boxes for wide.jpg; export it again, in float32"
    ):
        detector.detect(_WIDE)


def test_without_cuda_in_onnxruntime_the_cpu_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs())
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime has CUDA here")

    with caplog.at_level(logging.WARNING):
        detector = OnnxDetector(path, device=torch.device("cuda", 1))

    assert "onnxruntime has no CUDA" in caplog.text
    assert len(detector.detect(_WIDE)) == 1


def test_with_cuda_in_onnxruntime_the_gpu_that_is_asked_for_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs())
    open_session, asked = onnxruntime.InferenceSession, []

    def remember(name: str, options: Any, providers: list[Any]) -> Any:
        asked.append(providers)
        return open_session(name, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", remember)

    OnnxDetector(path, device=torch.device("cuda", 1))

    assert asked == [[("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]]


@pytest.mark.skipif("MSPN_DATA" not in os.environ or not _NANODET.is_file(), reason="no MSPN_DATA, or no NanoDet by it")
def test_a_published_nanodet_finds_the_people_that_its_own_code_found():
    detector = OnnxDetector(_NANODET)
    published = BoxesFile(_PHOTOS / "people_boxes.json")
    compared = 0

    for path in sorted((_PHOTOS / "images").iterdir())[:10]:
        found = _sure(detector.detect(Image(path.name, read_image(path))))
        expected = _sure(published.find(path.name))

        # Its code rounds the size of the scaled image down, and calls the scales of both sides the same.
        np.testing.assert_allclose([one.score for one in found], [one.score for one in expected], atol=0.02)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.box, other.box, atol=5)
        compared += len(expected)

    assert compared > 20


def _sure(found: list[Detection]) -> list[Detection]:
    return sorted((one for one in found if one.score >= 0.4), key=lambda one: -one.score)
