"""How `mspn predict` makes poses of heat maps: its own default, and switches of the protocol."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.cli.runner import error_line, run
from tests.untrained import untrained_weights


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    """Of an image whose one person two equal boxes hold."""
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8))
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"image.png": [[0, 0, 48, 64, 0.9], [0, 0, 48, 64, 0.5]]}))
    return ["predict", image, "--boxes", boxes, "--model", untrained_weights(tmp_path), "--precision", "float32"]


def _people(out: Path, *arguments: object) -> list[dict[str, Any]]:
    result = run(*arguments, "--out", out)
    assert result.exit_code == 0, result.output
    return json.loads((out / "predictions.json").read_text())[0]["people"]


def test_a_person_found_twice_is_one_unless_the_protocol_says_otherwise(tmp_path: Path, arguments: list[object]):
    scores = {
        setting: [person["box_score"] for person in _people(tmp_path / str(number), *arguments, *options)]
        for number, (setting, options) in enumerate(
            {
                "default": [],
                "named protocol": ["--protocol", "mmpose"],
                "null": ["--set", "test.suppression_oks=null"],
                "above all": ["--set", "test.suppression_oks=1"],
                "other": ["--set", "test.suppression_oks=0.9", "--set", "test.blur_kernel=1"],
            }.items()
        )
    }

    assert {setting: len(found) for setting, found in scores.items()} == {
        "default": 1,
        "named protocol": 1,
        "null": 2,
        "above all": 2,
        "other": 1,
    }
    assert scores["default"] == [0.9]


def test_switches_of_the_protocol_decide_how_keypoints_are_read(tmp_path: Path, arguments: list[object]):
    (usual,) = _people(tmp_path / "usual", *arguments)
    (rounded,) = _people(tmp_path / "rounded", *arguments, "--set", "test.decoder=rounded")
    (padded,) = _people(tmp_path / "padded", *arguments, "--protocol", "mmpose")

    assert usual["keypoints"] != rounded["keypoints"]
    assert usual["keypoints"] != padded["keypoints"]


def test_options_go_by_their_names_in_python_too(tmp_path: Path, arguments: list[object]):
    _people(tmp_path / "out", *arguments, "--batch-size", 1, "--ensemble-weight", 1)


def test_settings_of_training_are_refused(tmp_path: Path, arguments: list[object]):
    result = run(*arguments, "--set", "train.batch_size=4", "--out", tmp_path / "out")

    assert "--set train.batch_size=4: only test settings can be changed here" in error_line(result)


def test_a_run_with_other_switches_is_not_resumed(tmp_path: Path, arguments: list[object]):
    _people(tmp_path / "out", *arguments)

    result = run(*arguments, "--set", "test.blur_kernel=1", "--resume", "--out", tmp_path / "out")

    assert "--resume goes on with the same alone" in error_line(result)
