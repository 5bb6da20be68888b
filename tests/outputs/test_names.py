import numpy as np
import pytest

from mspn.outputs.images import FileNames, file_stem
from mspn.structures.image import Image
from tests.outputs.results import a_video, of_frame


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("holiday/beach.jpg", "beach"),
        ("a.b.jpg", "a.b"),
        ("https://example.org/photos/cat.jpg?size=3&x=/y", "cat"),
        ("rtsp://user@10.0.0.1/live", "live"),
        ("https://example.org/", "image"),
        ("0", "0"),
        ("", "image"),
        ("..", "image"),
        (".hidden.jpg", "hidden"),
        ("what? *.png", "what_"),
        ("Größe.png", "Größe"),
        ("x" * 300 + ".jpg", "x" * 200),
    ],
)
def test_files_are_called_like_their_source(source: str, stem: str):
    assert file_stem(source) == stem


def test_nothing_has_the_name_of_something_else():
    names = FileNames()
    images = [Image(source, np.zeros((2, 2, 3), np.uint8)) for source in ("in/a.jpg", "other/A.png", "a-2.jpg")]

    assert [names.choose(image) for image in images] == ["a", "A-2", "a-2-2"]


def test_frames_have_their_number_in_six_digits():
    image = of_frame(a_video("match.mp4"), 123, 4.92).image
    assert image is not None

    assert FileNames().choose(image) == "match-000123"
