from pathlib import Path

import numpy as np
import pytest

from mspn.detectors.precomputed import BoxesFolder
from mspn.errors import DetectorError
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image

_PIXELS = np.zeros((100, 200, 3), np.uint8)


def _folder(tmp_path: Path, files: dict[str, str]) -> BoxesFolder:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return BoxesFolder(tmp_path)


def test_people_are_read_in_pixels_of_the_image(tmp_path: Path):
    boxes = _folder(tmp_path, {"a.txt": "0 0.5 0.5 0.25 0.5 0.9\n\n16 0.1 0.1 0.1 0.1 0.8\n0 0.25 0.25 0.5 0.5\n"})

    # The first is 50x50 pixels around (100, 50); the last has no score.
    found = [Detection(Box(75, 25, 50, 50), 0.9), Detection(Box(0, 0, 100, 50), 1.0)]
    assert boxes.detect(Image("photos/a.jpg", _PIXELS)) == found


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path):
    boxes = _folder(tmp_path, {"a.txt": "\ufeff0 0.5 0.5 1 1"})

    assert boxes.detect(Image("a.jpg", _PIXELS)) == [Detection(Box(0, 0, 200, 100), 1.0)]


def test_a_box_ends_with_the_image(tmp_path: Path):
    boxes = _folder(tmp_path, {"a.txt": "0 0 0.5 0.5 1"})

    assert boxes.detect(Image("a.jpg", _PIXELS)) == [Detection(Box(0, 0, 50, 100), 1.0)]


def test_an_image_without_a_file_has_nobody(tmp_path: Path):
    boxes = _folder(tmp_path, {"a.txt": "", "c.txt": "0 0.5 0.5 1 1"})

    assert boxes.detect(Image("a.jpg", _PIXELS)) == []
    assert boxes.detect(Image("b.jpg", _PIXELS)) == []
    assert boxes.knows("a.jpg")
    assert not boxes.knows("b.jpg")


def test_images_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path):
    boxes = _folder(tmp_path, {"x/1.txt": "0 0.5 0.5 1 1 0.1", "y/1.txt": "0 0.5 0.5 1 1 0.2"})

    assert [one.score for one in boxes.detect(Image("/photos/../y/1.jpg", _PIXELS))] == [0.2]
    assert boxes.detect(Image("1.jpg", _PIXELS)) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0 0.5 0.5 1", r"a.txt, line 2 is no box; write category, x, y, width, height as shares"),
        ("0 0.5 nan 1 1", r"a.txt, line 2 is no box"),
        ("0 a b c d", r"a.txt, line 2: .*'a'; write numbers only"),
        ("0 100 50 20 20", r"a.txt, line 2 has numbers far above 1; write shares of the image's width and height"),
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path: Path, line: str, problem: str):
    boxes = _folder(tmp_path, {"a.txt": f"0 0.5 0.5 1 1\n{line}\n"})

    with pytest.raises(DetectorError, match=problem):
        boxes.detect(Image("a.jpg", _PIXELS))


def test_a_huge_file_is_refused(tmp_path: Path):
    boxes = _folder(tmp_path, {"a.txt": ""})
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(2**24 + 1)

    with pytest.raises(DetectorError, match=r"a.txt is larger than 16 MiB; is it a file of boxes"):
        boxes.detect(Image("a.jpg", _PIXELS))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    boxes = _folder(tmp_path, {"a.txt": ""})

    def refuse(path: Path, **_settings: str) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)

    with pytest.raises(DetectorError, match=r"a.txt cannot be read \(Permission denied\); check its rights"):
        boxes.detect(Image("a.jpg", _PIXELS))


def test_a_folder_without_text_files_is_refused(tmp_path: Path):
    with pytest.raises(DetectorError, match=r"no .txt files in .*; name a boxes file, or a folder of one text file"):
        BoxesFolder(tmp_path)
