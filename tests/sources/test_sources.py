import io
import struct
import sys
import zlib
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.errors import SourceError
from mspn.io.limits import InputLimits
from mspn.sources import count_images, name_source, open_sources
from mspn.sources.resolve import Source
from mspn.structures.image import Image, SourceFailure
from tests.checkpoints import file_server
from tests.checkpoints.file_server import FileServer
from tests.sources.video_files import cut_short, write_video

SETTINGS = InputLimits(wait_seconds=0.5, download_bytes=2**20, allowed_networks=(ip_network("127.0.0.1/32"),))


def write_image(path: Path, value: int = 7) -> Path:
    cv2.imwrite(str(path), np.full((4, 6, 3), value, np.uint8))
    return path


def bomb() -> bytes:
    """A PNG of a few bytes that declares 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def told(sources: Sequence[Source]) -> list[str]:
    """For each image its size, for anything else what is wrong."""
    opened = open_sources(sources, SETTINGS)
    return [
        f"{one.size.width}x{one.size.height}" if isinstance(one, Image) else f"{one.source}: {one.problem}"
        for one in opened
    ]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server.running(cv2.imencode(".png", np.full((5, 8, 3), 9, np.uint8))[1].tobytes()) as server:
        yield server


def test_everything_gives_images_in_order(tmp_path: Path, server: FileServer):
    video = write_video(tmp_path / "a.mp4", num_frames=2)
    image = write_image(tmp_path / "b.png")

    opened = list(open_sources([video, server.url("c"), np.zeros((1, 2, 3), np.uint8), str(image)], SETTINGS))

    assert all(isinstance(one, Image) for one in opened)
    assert [one.source for one in opened] == [str(video), str(video), server.url("c"), "", str(image)]
    assert [one.frame is None for one in opened if isinstance(one, Image)] == [False, False, True, True, True]


def test_one_bad_source_does_not_stop_the_others(tmp_path: Path, server: FileServer):
    good = write_image(tmp_path / "good.png")
    (tmp_path / "bomb.png").write_bytes(bomb())
    (tmp_path / "text.jpg").write_text("no image")
    video = cut_short(write_video(tmp_path / "video.mkv", num_frames=40))
    server.answers = [file_server.redirect("http://10.0.0.1/")]

    lines = told(
        [tmp_path / "bomb.png", good, tmp_path / "text.jpg", good, server.url(), good, np.zeros(3), good, video, good]
    )

    assert "bomb.png has 30000x30000 pixels, above the limit of 100,000,000" in lines[0]
    assert "text.jpg is not an image that can be read" in lines[2]
    assert f"{server.url()}: redirects to http://10.0.0.1/: 10.0.0.1 is not on the public internet" in lines[4]
    assert "an array of float64 with shape (3,) is not an image" in lines[6]
    assert lines[1] == lines[3] == lines[5] == lines[7] == lines[-1] == "6x4"
    frames, end = lines[8:-2], lines[-2]
    assert frames == ["64x48"] * len(frames)
    assert f"video.mkv is cut short: {len(frames)} frames were read" in end


def test_an_image_that_vanishes_is_a_line(tmp_path: Path):
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / name)
    opened = open_sources([tmp_path])
    assert isinstance(next(opened), Image)
    (tmp_path / "b.png").unlink()

    second, third = opened

    assert second == SourceFailure(str(tmp_path / "b.png"), f"no image at {tmp_path / 'b.png'}; check the path")
    assert isinstance(third, Image)


def test_a_video_at_an_address_is_read_as_one(tmp_path: Path, server: FileServer):
    server.content = write_video(tmp_path / "a.mp4", num_frames=3).read_bytes()

    assert told([server.url("clip")]) == ["64x48"] * 3


def test_a_page_at_an_address_is_no_image(server: FileServer):
    server.content = b"<html></html>"

    assert "is not an image that can be read" in told([server.url()])[0]


def test_an_endless_address_is_a_line(server: FileServer, tmp_path: Path):
    server.answers = [file_server.never_end]

    lines = told([server.url(), write_image(tmp_path / "a.png")])

    assert "sends more than the limit of 1048576 bytes" in lines[0]
    assert lines[1] == "6x4"


def test_a_video_without_a_known_suffix_is_recognized(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", num_frames=2).rename(tmp_path / "clip")

    assert told([path]) == ["64x48"] * 2


def test_a_file_without_rights_or_bytes_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_video(tmp_path / "a.mp4")

    def refuse(*arguments: object, **settings: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)

    assert told([path]) == [f"{path}: {path} cannot be read (Permission denied); check it and its rights"]


def test_images_are_read_only_when_they_are_asked_for(tmp_path: Path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")

    opened = open_sources([tmp_path / "a.png", tmp_path / "b.png"])
    first = next(opened)
    write_image(tmp_path / "b.png", value=200)

    assert isinstance(first, Image)
    second = next(opened)
    assert isinstance(second, Image)
    assert second.pixels.max() == 200


def test_nothing_at_all_is_an_error_before_the_first_image(tmp_path: Path):
    with pytest.raises(SourceError, match="no images or videos in the folder"):
        open_sources([tmp_path])


def test_images_are_counted_as_far_as_they_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_image(tmp_path / "a.png")
    write_video(tmp_path / "b.mp4", num_frames=5)
    (tmp_path / "broken.mp4").touch()
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    # An image, five frames, and a line for the broken one.
    assert count_images([tmp_path]) == 7
    assert count_images([tmp_path / "a.png", "https://host/b.jpg", np.zeros((1, 1, 3), np.uint8)]) == 3
    assert count_images([tmp_path, "0"]) is None
    assert count_images([tmp_path, "rtsp://host/live"]) is None
    assert count_images(["-"]) is None


def test_results_call_a_source_as_the_user_named_it():
    assert name_source("photos/a.jpg") == "photos/a.jpg"
    assert name_source("rtsp://me:secret@host/live") == "rtsp://host/live"
    assert name_source(np.zeros((1, 1, 3), np.uint8)) == ""
    assert name_source(SourceFailure("a.jpg", "gone")) == "a.jpg"
