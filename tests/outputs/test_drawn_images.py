from pathlib import Path

import numpy as np

from mspn.io.images import read_image
from mspn.outputs.drawings import ImageWriter
from mspn.visualize.themes import THEMES
from tests.outputs.results import a_video, of_frame, of_image, unreadable


def test_images_keep_their_folders_and_do_not_overwrite_each_other(tmp_path: Path):
    writer = ImageWriter(tmp_path, source_folder=Path("in"))

    for name in ("in/a.jpg", "in/a.png", "in/b/a.jpg"):
        writer.write(of_image(name))
    writer.write(unreadable("in/c.png"))
    writer.close()

    drawn = tmp_path / "images"
    assert sorted(path.relative_to(drawn).as_posix() for path in drawn.rglob("*.*")) == [
        "a.jpg",
        "a.png.jpg",
        "b/a.jpg",
    ]
    assert read_image(drawn / "a.jpg").max() > 0


def test_frames_have_their_number_in_the_name(tmp_path: Path):
    ImageWriter(tmp_path, source_folder=Path("clips")).write(of_frame(a_video("clips/match.mp4"), 123, 4.92))

    assert [path.name for path in (tmp_path / "images").iterdir()] == ["match-000123.jpg"]


def test_images_are_drawn_in_the_theme(tmp_path: Path):
    ImageWriter(tmp_path, THEMES["white-on-dark"]).write(of_image("a.jpg"))

    drawn = read_image(tmp_path / "images" / "a.jpg").astype(int)
    # White and gray alone, but for what JPEG makes of it.
    assert np.ptp(drawn, axis=2).max() < 10
