import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

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


def test_a_size_is_for_a_detector_that_leaves_it_open(tmp_path: Path):
    inputs = {"images": (1, 3, "height", "width")}
    path = write_answers(tmp_path / "yolox.onnx", yolox_outputs(), inputs)

    (person,) = _predict(tmp_path, "--detector", path, "--detector-size", 64)

    np.testing.assert_allclose(person["box"], [48, 24, 64, 32], atol=0.01)
    line = error_line(
        run("predict", tmp_path / "gray.png", "--detector", path, "--detector-size", 65, "--out", tmp_path / "other")
    )
    assert "detector_size: Input should be a multiple of 32" in line


def test_slices_show_people_who_are_not_seen_in_the_whole(tmp_path: Path):
    # Two slices of 72 pixels, from 0 and from 56, each 64 high: a person of the left half of each, as of the image.
    detector = "tests.detectors.own_detectors:LeftHalf"

    people = _predict(tmp_path, "--detector", detector, "--detector-slices", 2, "--set", "test.suppression_oks=null")

    assert sorted(person["box"] for person in people) == [[0, 0, 64, 64], [56, 0, 36, 64]]


def test_other_settings_of_the_detector_are_another_run(tmp_path: Path):
    detector = "tests.detectors.own_detectors:LeftHalf"
    _predict(tmp_path, "--detector", detector)

    line = error_line(
        run(
            *("predict", tmp_path / "gray.png", "--model", "mspn-tiny", "--no-flip", "--detector", detector),
            *("--detector-slices", 2, "--out", tmp_path / "out", "--resume"),
        )
    )

    assert "detector_slices" in line


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


@pytest.mark.parametrize("option", ["--detector-size", "--detector-slices"])
def test_settings_of_a_detector_are_refused_beside_boxes(tmp_path: Path, option: str):
    value = 416 if option == "--detector-size" else 2

    line = error_line(run("predict", "a.png", "--boxes", tmp_path, option, value))

    assert line == f"error: {option} is not used with --boxes; give only one of the two"
