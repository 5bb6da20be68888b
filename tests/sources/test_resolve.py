import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspn.errors import InvalidValueError, SourceError
from mspn.io.limits import InputLimits
from mspn.sources.resolve import Shard, find_sources, is_camera
from mspn.structures.image import SourceFailure


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holiday" / "beach").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "holiday/c.jpg", "holiday/beach/d.mp4"):
        (tmp_path / name).touch()


class Lines(io.RawIOBase):
    """A pipe that somebody writes lines to, and that tells how many were read."""

    def __init__(self, *lines: bytes) -> None:
        self.lines = list(lines)
        self.num_read = 0

    def readable(self) -> bool:
        return True

    def readline(self, size: int | None = -1) -> bytes:
        self.num_read += 1
        return self.lines.pop(0)[: size if size and size > 0 else None] if self.lines else b""


def pipe(monkeypatch: pytest.MonkeyPatch, *lines: bytes) -> Lines:
    buffer = Lines(*lines)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": buffer}))
    return buffer


def found(*sources: Any, **settings: Any) -> list[str]:
    listed = find_sources(sources, InputLimits(**settings))
    return [f"! {one.problem}" if isinstance(one, SourceFailure) else Path(str(one)).as_posix() for one in listed]


def test_files_folders_and_patterns_become_files():
    assert found("b.jpg", Path("holiday"), "*.jpg") == [
        *("b.jpg", "holiday/c.jpg", "holiday/beach/d.mp4"),
        *("a.jpg", "b.jpg"),
    ]


def test_folders_that_match_a_pattern_are_searched():
    assert found("holi*") == ["holiday/c.jpg", "holiday/beach/d.mp4"]


def test_addresses_cameras_and_arrays_stay_as_they_are():
    array = np.zeros((2, 2, 3), np.uint8)

    listed = list(find_sources(["https://host/a.jpg", "rtsp://host/live", "0", array]))

    assert listed[:3] == ["https://host/a.jpg", "rtsp://host/live", "0"]
    assert listed[3] is array


def test_a_number_is_a_file_if_there_is_one():
    assert is_camera("0")
    Path("0").touch()
    assert not is_camera("0")
    assert not is_camera("-1")
    assert not is_camera("20260101")
    assert not is_camera(Path("1"))


def test_what_is_missing_is_a_line_among_the_others():
    Path("empty").mkdir()
    Path("loop").symlink_to("loop")

    assert found("a.jpg", "nowhere.jpg", "empty", "*.tif", "ftp://me:secret@host/a.jpg", "loop") == [
        "a.jpg",
        "! no image, video or folder at nowhere.jpg; check the path",
        "! no images or videos in the folder empty, nor below it",
        "! no file or folder matches *.tif; check the pattern",
        "! ftp://host/a.jpg: no ftp addresses are read, only http, https, rtsp, rtsps; name files by their path",
        "! loop is a link that leads to nothing, or back to itself; check the link",
    ]


def test_names_that_the_system_cannot_look_up_are_lines_among_the_others():
    name = "x" * 5000

    assert found(name, f"{name}*", f"{name}/*.jpg", "a.jpg") == [
        f"! no image, video or folder at {name}; check the path",
        f"! no file or folder matches {name}*; check the pattern",
        f"! no file or folder matches {name}/*.jpg; check the pattern",
        "a.jpg",
    ]


def test_file_addresses_are_never_read():
    with pytest.raises(SourceError, match="no file addresses are read"):
        find_sources([f"file://{Path('a.jpg').resolve()}"])


def test_nothing_at_all_is_an_error_before_the_first_image():
    with pytest.raises(SourceError, match="no source; name images, folders"):
        find_sources([])
    with pytest.raises(SourceError, match=r"no image, video or folder at x\.jpg"):
        find_sources(["x.jpg", "y.jpg"])


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_current_folder(name: str):
    with pytest.raises(SourceError, match=r"a source is empty; name an image, .* \(\. is the current folder\)"):
        find_sources(["a.jpg", name])


def test_what_can_be_no_source_is_an_error_before_the_first_image():
    with pytest.raises(TypeError, match=r"a source is a path, an address, a camera number as text.* not int"):
        find_sources(["a.jpg", 0])  # type: ignore[list-item]


def test_a_list_on_standard_input_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch):
    lines = pipe(monkeypatch, b"a.jpg\n", b"\n", b"holiday\r\n", b"nowhere.jpg\n", b"b.jpg")

    listed = find_sources(["-", "a.jpg"])

    assert lines.num_read == 0
    assert next(listed) == Path("a.jpg")
    assert lines.num_read == 1
    rest = [one.source if isinstance(one, SourceFailure) else str(one) for one in listed]
    assert [Path(name).as_posix() for name in rest] == [
        *("holiday/c.jpg", "holiday/beach/d.mp4", "nowhere.jpg", "b.jpg", "a.jpg")
    ]


@pytest.mark.skipif(os.name == "nt", reason="names of files are no bytes there")
def test_names_on_standard_input_may_be_no_utf8(monkeypatch: pytest.MonkeyPatch):
    Path(os.fsdecode(b"caf\xe9.jpg")).touch()
    pipe(monkeypatch, b"caf\xe9.jpg\n")

    assert list(find_sources(["-"])) == [Path(os.fsdecode(b"caf\xe9.jpg"))]


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0\0\x10JFIF\n", b"x" * 100_000])
def test_images_on_standard_input_are_one_clear_line(content: bytes, monkeypatch: pytest.MonkeyPatch):
    pipe(monkeypatch, content, b"more\n")

    assert found("-") == [
        "! standard input is no list of sources, one a line; write names, not images, to it",
    ]


def test_a_list_that_names_itself_ends(monkeypatch: pytest.MonkeyPatch):
    pipe(monkeypatch, b"-\n", b"a.jpg\n")

    assert found("-") == ["! the list on standard input names itself (-); leave that line out", "a.jpg"]


def test_the_folder_of_the_results_is_not_searched():
    assert found(".", excluded_folders=(Path("holiday"),)) == ["a.jpg", "b.jpg"]


def test_closed_standard_input_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", None)

    assert found("-") == ["! standard input is closed; write names of sources to it, one a line"]


def test_a_shard_has_every_so_many_th_source():
    assert list(Shard(3, 16).take(range(40))) == [2, 18, 34]
    assert list(Shard().take("abc")) == ["a", "b", "c"]
    assert Shard.parse(" 3/16 ") == Shard(3, 16)
    assert str(Shard(3, 16)) == "3/16"


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "a/b", "1/2/3", "-1/4", "1.0/2"])
def test_what_is_no_shard_is_refused(text: str):
    with pytest.raises(InvalidValueError, match=r"no shard .*; write 3/16 for the third of sixteen"):
        Shard.parse(text)
