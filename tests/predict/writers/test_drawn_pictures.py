from pathlib import Path

import numpy as np

from mspn.images import read_picture
from mspn.predict.writers.drawn_pictures import ImageWriter
from mspn.themes import THEMES
from tests.predict.results import a_video, of_frame, of_picture, unreadable


def test_pictures_of_the_same_name_do_not_overwrite_each_other(tmp_path: Path):
    writer = ImageWriter(tmp_path)

    writer.write(of_picture("in/a.jpg"))
    writer.write(of_picture("other/a.png"))
    writer.write(unreadable("other/b.png"))
    writer.close()

    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["a-2.jpg", "a.jpg"]
    assert read_picture(tmp_path / "images" / "a.jpg").max() > 0


def test_frames_have_their_number_in_the_name(tmp_path: Path):
    ImageWriter(tmp_path).write(of_frame(a_video("clips/match.mp4"), 123, 4.92))

    assert [path.name for path in (tmp_path / "images").iterdir()] == ["match-000123.jpg"]


def test_pictures_are_drawn_in_the_theme(tmp_path: Path):
    ImageWriter(tmp_path, THEMES["white-on-dark"]).write(of_picture("a.jpg"))

    drawn = read_picture(tmp_path / "images" / "a.jpg").astype(int)
    # White and grey alone, but for what JPEG makes of it.
    assert np.ptp(drawn, axis=2).max() < 10
