from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.labels.drawing import Shown, draw_set, show_everyone, show_findings
from mspn.labels.label_table import Finding
from tests.full_disk import full_disk
from tests.labeled_sets import SIZE, sound_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 7):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((*SIZE, 3), 90, np.uint8))
    return tmp_path


def test_findings_show_the_people_whom_they_are_about():
    findings = [
        Finding("bad_box", "one", "1.png", 1, 2),
        Finding("bad_box", "two", "1.png", 1, 2),
        Finding("wrong_size", "small", "3.png", 3),
    ]

    shown = show_findings(sound_set(), findings)

    assert [one.caption for one in shown] == ["2: one; two", "5: small", "6: small"]


def test_a_finding_about_the_set_shows_everybody():
    assert len(show_findings(sound_set(), [Finding("mirrored_set", "all")])) == 12


def test_images_and_sheets_of_a_hundred_people_are_written(folder: Path):
    labels = sound_set()
    many = [Shown(labels.people[number % 12], str(number)) for number in range(101)]

    problems = list(draw_set(labels, folder, many, folder / "out"))

    assert problems == [None] * 6
    assert sorted(path.name for path in (folder / "out" / "images").iterdir()) == [
        f"{number}-{number}.jpg" for number in range(1, 7)
    ]
    sheets = sorted((folder / "out" / "sheets").iterdir())
    assert [path.name for path in sheets] == ["sheet-001.jpg", "sheet-002.jpg"]


def test_an_image_that_cannot_be_read_is_a_problem_and_the_others_are_drawn(folder: Path):
    labels = sound_set()
    (folder / "2.png").unlink()

    problems = list(draw_set(labels, folder, show_everyone(labels), folder / "out"))

    assert problems[1] is not None
    assert "no image at" in problems[1]
    assert len(list((folder / "out" / "images").iterdir())) == 5


def test_a_person_of_an_unknown_image_is_a_problem(folder: Path):
    labels = sound_set()
    lost = replace(labels.people[0], image_id=99)

    problems = list(draw_set(labels, folder, [Shown(lost, "1")], folder / "out"))

    assert problems == ["image 99 of person 1 is not in the labels"]


def test_a_file_name_cannot_lead_out_of_the_folder(folder: Path):
    labels = sound_set()
    (folder / "in").mkdir()
    sneaky = replace(labels.images[0], file_name="../1.png")
    labels = replace(labels, images=[sneaky, *labels.images[1:]])

    list(draw_set(labels, folder / "in", show_everyone(labels)[:1], folder / "out"))

    assert [path.name for path in (folder / "out" / "images").iterdir()] == ["1-1.jpg"]


def test_a_full_disk_is_named(folder: Path):
    labels = sound_set()

    with full_disk(100), pytest.raises(OSError, match="is there room on the disk"):
        list(draw_set(labels, folder, show_everyone(labels), folder / "out"))
