import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.labels.checks import check_labels, scan_images
from mspn.labels.label_set import LabeledSet
from mspn.labels.label_table import Finding
from mspn.structures.boxes import Size
from tests.labeled_sets import SIZE, sound_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images of their own content, of the size that `sound_set` says."""
    for number in range(1, 7):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((*SIZE, 3), 30 * number, np.uint8))
    return tmp_path


def _check(labels: LabeledSet, folder: Path) -> list[Finding]:
    return check_labels(labels, list(scan_images(labels.images, folder, 2)))


def test_sound_images_are_no_finding(folder: Path):
    assert _check(sound_set(), folder) == []


def test_a_missing_image_is_found(folder: Path):
    (folder / "4.png").unlink()

    (finding,) = _check(sound_set(), folder)

    assert (finding.kind, finding.image_id, finding.place) == ("missing_image", 4, "4.png")
    assert finding.message == f"no image at {folder / '4.png'}; is --images the folder that holds it?"


def test_a_damaged_image_is_found(folder: Path):
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:50])

    (finding,) = _check(sound_set(), folder)

    assert (finding.kind, finding.image) == ("unreadable_image", "4.png")
    assert "4.png is not an image that can be read" in finding.message


def test_an_image_of_another_size_is_found(folder: Path):
    cv2.imwrite(str(folder / "4.png"), np.zeros((300, 450, 3), np.uint8))

    (finding,) = _check(sound_set(), folder)

    assert finding.kind == "wrong_size"
    assert finding.message == "the image has 450x300 pixels, the labels say 300x200"


def test_a_damaged_image_is_found_and_checked_further(folder: Path):
    noise = np.random.default_rng(0).integers(0, 256, (199, 300, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", noise)[1].tobytes()
    (folder / "4.jpg").write_bytes(jpeg[: len(jpeg) // 2] + bytes(500) + jpeg[len(jpeg) // 2 + 500 :])

    damaged, size = _check(_of_jpeg(lambda size: size), folder)

    assert (damaged.kind, damaged.image, size.kind) == ("damaged_image", "4.jpg", "wrong_size")
    assert damaged.message.startswith("damaged (Corrupt JPEG data: ")


def test_two_files_with_the_same_bytes_are_found(folder: Path):
    (folder / "4.png").write_bytes((folder / "2.png").read_bytes())

    (finding,) = _check(sound_set(), folder)

    assert (finding.kind, finding.image, finding.message) == ("same_image", "4.png", "the same bytes as 2.png")


def test_sizes_that_the_labels_do_not_say_come_from_the_images(folder: Path):
    labels = sound_set()
    labels = replace(labels, images=[replace(image, size=None) for image in labels.images])
    cv2.imwrite(str(folder / "4.png"), np.zeros((160, 300, 3), np.uint8))

    # Ankles are at 165, and the boxes end at 175, 15 beyond.
    kinds = {finding.kind for finding in _check(labels, folder)}

    assert kinds == {"outside_image", "box_beyond_image"}


def _turned_jpeg(path: Path, orientation: int) -> None:
    """A JPEG stored 200 wide and 300 high, or as the orientation says 300 wide and 200 high."""
    stored = (300, 200, 3) if orientation > 4 else (200, 300, 3)
    encoded = cv2.imencode(".jpg", np.full(stored, 99, np.uint8))[1].tobytes()
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    path.write_bytes(encoded[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + encoded[2:])


def _of_jpeg(change: Callable[[Size], Size]) -> LabeledSet:
    labels = sound_set()
    fourth = replace(labels.images[3], file_name="4.jpg", size=change(SIZE))
    return replace(labels, images=[*labels.images[:3], fourth, *labels.images[4:]])


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_image_that_is_stored_turned_is_found(folder: Path, orientation: int):
    _turned_jpeg(folder / "4.jpg", orientation)

    (finding,) = _check(_of_jpeg(lambda size: size), folder)

    assert (finding.kind, finding.image) == ("rotated_image", "4.jpg")
    assert finding.message.startswith(f"stored turned (EXIF orientation {orientation})")


def test_an_image_that_was_labeled_as_it_is_stored_is_found(folder: Path):
    _turned_jpeg(folder / "4.jpg", 6)

    (finding,) = _check(_of_jpeg(lambda size: Size(size.width, size.height)), folder)

    assert finding.kind == "wrong_size"
    assert finding.message == (
        "the image has 300x200 pixels, the labels say 200x300;"
        " it was labeled as it is stored, not upright (EXIF orientation 6)"
    )


def test_damaged_exif_is_none(folder: Path):
    _turned_jpeg(folder / "4.jpg", 1)
    encoded = (folder / "4.jpg").read_bytes()
    (folder / "4.jpg").write_bytes(encoded.replace(b"MM\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff"))

    assert _check(_of_jpeg(lambda size: size), folder) == []
