from pathlib import Path

import cv2
import numpy as np

from mspn.io.images import read_image
from mspn.labels.corrections import Correction
from mspn.labels.drawing import draw_corrections
from tests.labeled_sets import PEOPLE, SIZE, sound_set


def _write_images(folder: Path) -> Path:
    for number in range(1, PEOPLE // 2 + 1):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((*SIZE, 3), 128, np.uint8))
    return folder


def test_each_kind_of_doubt_is_drawn_on_sheets_of_its_own(tmp_path: Path):
    images = _write_images(tmp_path)
    corrections = {
        1: Correction(swap=(("left_hip", "left_ankle"), ("left_hip", "right_hip")), reason="hips"),
        2: Correction(swap=(("left_hip", "left_ankle"),), reason="leg"),
        4: Correction(leave_out=("nose",), reason="far away " * 40),
        5: Correction(leave_out=("nose",)),
    }

    drawn = list(draw_corrections(sound_set(), corrections, images, tmp_path / "out"))

    assert drawn == [None] * 4
    # Three panels of 192 pixels a person, 2 between them, 16 around; two people on the last sheet.
    widths = {path.name: read_image(path).shape[1] for path in (tmp_path / "out").iterdir()}
    assert widths == {"swapped-001.jpg": 612, "reversed-001.jpg": 612, "misplaced-001.jpg": 1208}


def test_the_corrected_labels_stand_beside_the_labels_and_the_image(tmp_path: Path):
    corrections = {1: Correction(leave_out=sound_set().skeleton.keypoints)}

    list(draw_corrections(sound_set(), corrections, _write_images(tmp_path), tmp_path / "out"))

    sheet = read_image(tmp_path / "out" / "misplaced-001.jpg").astype(int)
    panels = [sheet[68:320, left + 3 : left + 190] for left in (16, 210, 404)]
    colored = [bool((np.ptp(panel, axis=-1) > 100).any()) for panel in panels]
    assert colored == [False, True, False]


def test_a_full_sheet_is_followed_by_another(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("mspn.labels.drawing.MAX_CORRECTIONS_PER_SHEET", 2)
    corrections = {number: Correction(leave_out=("nose",)) for number in (1, 2, 3)}

    list(draw_corrections(sound_set(), corrections, _write_images(tmp_path), tmp_path / "out"))

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["misplaced-001.jpg", "misplaced-002.jpg"]


def test_an_image_that_cannot_be_read_is_a_line(tmp_path: Path):
    images = _write_images(tmp_path)
    (images / "1.png").write_text("no image")
    corrections = {number: Correction(leave_out=("nose",)) for number in (1, 3)}

    problem, other = draw_corrections(sound_set(), corrections, images, tmp_path / "out")

    assert problem is not None
    assert "1.png" in problem
    assert other is None
