from pathlib import Path

import pytest

from mspn.outputs import DRAWING_WRITERS, WRITERS, make_writer
from mspn.visualize.themes import THEMES
from tests.outputs.results import a_video, of_frame, of_image, unreadable


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_takes_images_frames_and_what_cannot_be_read(tmp_path: Path, name: str):
    pytest.importorskip({"parquet": "pyarrow", "video": "av"}.get(name, "json"))
    writer = make_writer(name, tmp_path, THEMES["people"])

    writer.write(of_image("a.jpg"))
    writer.write(unreadable("b.jpg"))
    writer.write(of_image("c.jpg", poses=[]))
    writer.write(of_frame(a_video("match.mp4"), 0, 0.0))
    writer.close()

    assert list(tmp_path.iterdir())


def test_writers_that_draw_are_writers():
    assert set(DRAWING_WRITERS) < set(WRITERS)
