from pathlib import Path

import numpy as np
import pytest

from mspn.io.images import encode_jpeg, read_image, write_jpeg
from tests.full_disk import full_disk


def test_a_jpeg_shows_what_was_written(tmp_path: Path):
    pixels = np.full((30, 40, 3), (200, 100, 50), np.uint8)

    write_jpeg(tmp_path / "folder" / "a.jpg", pixels)

    assert abs(read_image(tmp_path / "folder" / "a.jpg").astype(int) - pixels).max() <= 3
    assert (tmp_path / "folder" / "a.jpg").read_bytes() == encode_jpeg(pixels)


def test_what_is_too_long_for_a_jpeg_is_made_smaller(tmp_path: Path):
    write_jpeg(tmp_path / "a.jpg", np.zeros((20, 131_000, 3), np.uint8))

    # Half the size.
    assert read_image(tmp_path / "a.jpg").shape == (10, 65_500, 3)


def test_an_image_without_room_on_the_disk_leaves_nothing(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)

    with full_disk(1000), pytest.raises(OSError, match=r"could not write .*a.jpg \(.*\); is there room on the disk"):
        write_jpeg(tmp_path / "a.jpg", noise)

    assert list(tmp_path.iterdir()) == []
