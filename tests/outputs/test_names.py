import logging
from pathlib import Path

import numpy as np
import pytest

from mspn.outputs.names import FileNames, common_folder
from mspn.structures.image import Image
from tests.outputs.results import a_video, of_frame


def _choose(names: FileNames, *sources: str) -> list[str]:
    return [names.choose(Image(source, np.zeros((2, 2, 3), np.uint8))) for source in sources]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("holiday/beach.jpg", "beach"),
        ("holiday/a/b/beach.jpg", "a/b/beach"),
        ("holiday/photo 1 (2).png", "photo 1 (2)"),
        ("holiday/what? *.png", "what? *"),
        ("holiday/a.b.jpg", "a.b"),
        ("holiday/.hidden.jpg", ".hidden"),
        ("holiday/Größe.png", "Größe"),
        ("holiday/caf\udce9.png", "caf\udce9"),
        ("elsewhere/a.jpg", "elsewhere/a"),
        ("../elsewhere/a.jpg", "elsewhere/a"),
        ("/data/a.jpg", "data/a"),
        ("https://example.org/photos/cat.jpg?size=3&x=/y", "cat"),
        ("https://example.org/photos/what%3F *.jpg", "what_3F_"),
        ("rtsp://user@10.0.0.1/live", "live"),
        ("https://example.org/", "image"),
        ("0", "0"),
        ("", "image"),
        ("..", "image"),
        ("holiday/" + "x" * 300 + ".jpg", "x" * 250),
    ],
)
def test_files_are_named_as_their_source_below_the_source_folder(source: str, name: str):
    assert _choose(FileNames(Path("holiday")), source) == [name]


def test_of_two_that_would_share_a_name_the_second_keeps_its_suffix_or_gets_a_number(
    caplog: pytest.LogCaptureFixture,
):
    sources = ("in/a.jpg", "in/A.png", "in/a.PNG", "other/a.jpg")

    assert _choose(FileNames(Path("in")), *sources) == ["a", "A.png", "a-2", "other/a"]
    assert [record.getMessage() for record in caplog.records] == [
        "in/A.png: results are named A.png, because those of in/a.jpg are named A",
        "in/a.PNG: results are named a-2, because those of in/a.jpg are named a",
    ]


def test_without_a_source_folder_names_have_no_folders():
    assert _choose(FileNames(), "in/a.jpg", "/data/b.jpg", "c/a.jpg") == ["a", "b", "a.jpg"]


def test_an_image_that_is_named_twice_keeps_its_name(caplog: pytest.LogCaptureFixture):
    assert _choose(FileNames(), "a.jpg", "a.jpg") == ["a", "a"]
    assert not caplog.records


def test_images_in_memory_are_numbered(caplog: pytest.LogCaptureFixture):
    assert _choose(FileNames(), "", "", "") == ["image", "image-2", "image-3"]
    assert not caplog.records


def test_frames_have_their_number_in_six_digits():
    image = of_frame(a_video("clips/match.mp4"), 123, 4.92).image
    assert image is not None

    assert FileNames(Path()).choose(image) == "clips/match-000123"


def test_two_videos_that_would_share_names_are_reported_once(caplog: pytest.LogCaptureFixture):
    names = FileNames()
    chosen = [
        names.choose(image)
        for suffix in ("mp4", "avi")
        for number in (0, 1)
        if (image := of_frame(a_video(f"match.{suffix}"), number, 0.0).image)
    ]

    assert chosen == ["match-000000", "match-000001", "match.avi-000000", "match.avi-000001"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(
    ("sources", "folder"),
    [
        (["photos"], "photos"),
        (["photos/a"], "photos/a"),
        (["photos/a", "photos/b"], "photos"),
        (["photos/a/1.jpg"], "photos/a"),
        (["photos/a/1.jpg", "photos/b/1.jpg", "https://example.org/x/y.jpg"], "photos"),
        (["photos/*/?.jpg"], "photos"),
        (["photos/a", "-"], "."),
        (["https://example.org/x/y.jpg", "0"], "."),
    ],
)
def test_the_common_folder_is_the_deepest_that_holds_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str], folder: str
):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").touch()
    monkeypatch.chdir(tmp_path)

    assert common_folder(sources) == Path(folder)
    if sources == ["photos"]:
        assert common_folder([tmp_path / "photos"]) == tmp_path / "photos"
