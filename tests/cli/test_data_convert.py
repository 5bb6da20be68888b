import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from mspn.labels.formats.coco import read_crowdpose
from tests.cli.runner import error_line, run
from tests.coco_files import person, write_annotations


def write_coco(folder: Path) -> Path:
    hip = {"left_hip": (10, 20, 2), "nose": (5, 5, 2)}
    return write_annotations(folder / "people.json", [person(1, 7, hip)], {7: "seven.png"})


def test_labels_are_rewritten_in_another_format(tmp_path: Path):
    result = run("data", "convert", write_coco(tmp_path), tmp_path / "crowdpose.json", "--to", "crowdpose")

    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"{tmp_path / 'crowdpose.json'}: 1 people in 1 images, as crowdpose"
    (somebody,) = read_crowdpose(tmp_path / "crowdpose.json").people
    assert somebody.keypoints_image[6].tolist() == [10, 20, 2]


def test_sizes_come_from_the_folder_of_images(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "seven.png"), np.zeros((100, 50, 3), np.uint8))
    source = write_coco(tmp_path)

    refused = run("data", "convert", source, tmp_path / "yolo", "--to", "yolo")
    result = run("data", "convert", source, tmp_path / "yolo", "--to", "yolo", "--images", tmp_path)

    assert "the size of seven.png is not known" in error_line(refused)
    assert result.exit_code == 0, result.output
    # The box of 30 x 60 at (10, 20) in 50 x 100 pixels; then the nose at (5, 5).
    row = (tmp_path / "yolo" / "labels" / "seven.txt").read_text().split()
    assert [float(word) for word in row[:8]] == [0, 0.5, 0.5, 0.6, 0.6, 0.1, 0.05, 2]


_KILLED_WHILE_WRITING = """
import os, signal
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
from mspn.cli.app import main
main()
"""


def test_a_conversion_that_was_killed_leaves_nothing_once_it_is_repeated(tmp_path: Path):
    arguments = ["data", "convert", str(write_coco(tmp_path)), str(tmp_path / "out" / "a.json"), "--to", "crowdpose"]
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_WRITING, *arguments], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [entry.suffix for entry in (tmp_path / "out").iterdir()] == [".partial"]

    result = run(*arguments)

    assert result.exit_code == 0, result.output
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["a.json"]


def test_a_skeleton_of_ones_own_names_keypoints_that_the_source_does_not(tmp_path: Path):
    (tmp_path / "kite.yaml").write_text("name: kite\nkeypoints: [top, tail]")
    source = write_annotations(
        tmp_path / "a.json", [person(1, 7, {}, keypoints=[1, 2, 2, 3, 4, 1])], {7: "seven.png"}, []
    )

    result = run(
        *("data", "convert", source, tmp_path / "b.json", "--to", "coco", "--from", "coco"),
        *("--skeleton", tmp_path / "kite.yaml"),
    )

    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "b.json").read_text())["categories"][0]["keypoints"] == ["top", "tail"]


def test_bad_use_ends_with_one_line(tmp_path: Path):
    source = write_coco(tmp_path)

    for arguments, message in (
        ((source, tmp_path / "a", "--to", "voc"), "labels cannot be written as voc; there are crowdpose, coco, ai-"),
        ((source, source / "a", "--to", "coco"), "people.json: File exists; check the path and its rights"),
        ((tmp_path / "gone.json", tmp_path / "a", "--to", "coco"), "no file at"),
        ((source, tmp_path / "a", "--to", "coco", "--skeleton", "gone.yaml"), "no file at gone.yaml; check the path"),
    ):
        assert message in error_line(run("data", "convert", *arguments))
