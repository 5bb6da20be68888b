import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.cli.runner import error_line, run
from tests.detectors.family_outputs import yolox_outputs
from tests.detectors.onnx_files import write_answers


def _predict(tmp_path: Path, *options: object) -> list[dict[str, Any]]:
    image = tmp_path / "gray.png"
    cv2.imwrite(str(image), np.full((64, 128, 3), 128, np.uint8))
    result = run("predict", image, "--model", "mspn-tiny", "--no-flip", "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    people: list[dict[str, Any]] = entry["people"]
    return people


def test_an_onnx_detector_says_who_is_there(tmp_path: Path):
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs())

    (person,) = _predict(tmp_path, "--detector", path)

    np.testing.assert_allclose(person["box"], [48, 24, 64, 32], atol=0.01)


def test_nobody_in_the_image_is_an_empty_list_of_people(tmp_path: Path):
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs(category=16))

    assert _predict(tmp_path, "--detector", path) == []


def test_a_class_of_ones_own_says_who_is_there(tmp_path: Path):
    (person,) = _predict(tmp_path, "--detector", "tests.detectors.own_detectors:LeftHalf")

    assert person["box"] == [0, 0, 64, 64]


def test_a_bug_in_a_class_of_ones_own_keeps_its_traceback(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "gray.png"), np.zeros((64, 64, 3), np.uint8))
    detector = "tests.detectors.own_detectors:Buggy"

    result = run("predict", tmp_path / "gray.png", "--model", "mspn-tiny", "--detector", detector, "--out", tmp_path)

    assert result.exit_code == 1
    assert isinstance(result.exception, ValueError)
    assert "cannot reshape array" in str(result.exception)
    assert "error:" not in result.stderr


def test_a_folder_of_text_files_gives_boxes(tmp_path: Path):
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "gray.txt").write_text("0 0.75 0.5 0.5 1 0.9")

    (person,) = _predict(tmp_path, "--boxes", tmp_path / "boxes")

    assert person["box"] == [64, 0, 64, 64]
    assert person["box_score"] == 0.9


def test_a_detector_that_cannot_be_used_is_one_line(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "gray.png"), np.zeros((8, 8, 3), np.uint8))

    line = error_line(run("predict", tmp_path / "gray.png", "--detector", "yolox:absent.onnx"))

    assert "no file at absent.onnx; check the path of the detector" in line


def test_a_detector_beside_boxes_is_refused_even_if_it_is_the_default(tmp_path: Path):
    (tmp_path / "boxes").mkdir()

    for detector in ("x", "default"):
        line = error_line(run("predict", "a.png", "--boxes", tmp_path / "boxes", "--detector", detector))

        assert line == "error: --detector is not used with --boxes; give only one of the two"
