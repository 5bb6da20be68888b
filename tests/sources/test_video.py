import gc
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mspn.errors import SourceError
from mspn.sources import open_sources
from mspn.sources.video import HEAD_BYTES, count_frames, looks_like_video, read_video
from mspn.structures.boxes import Size
from mspn.structures.image import Image
from tests.sources.video_files import cut_short, frame_pixels, set_display_matrix, write_video

_TOP_LEFT, _TOP_RIGHT, _BOTTOM_LEFT, _BOTTOM_RIGHT = (12, 16), (12, 48), (36, 16), (36, 48)


def read(path: Path, max_pixels: int = 10_000) -> tuple[list[Image], str]:
    """The frames that can be read, and then what is wrong."""
    images: list[Image] = []
    with path.open("rb") as file:
        try:
            for image in read_video(file, str(path), max_pixels):
                images.append(image)
        except SourceError as error:
            return images, str(error)
    return images, ""


def seconds(images: list[Image]) -> list[float]:
    return [image.frame.seconds for image in images if image.frame]


def is_red(image: Image, place: tuple[int, int]) -> bool:
    red, green, blue = (int(value) for value in image.pixels[place])
    return red > 180 and green < 90 and blue < 90


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mp4", "mpeg4", "yuv420p"),
        ("a.mov", "mpeg4", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.mkv", "ffv1", "yuv444p10le"),
        ("a.mkv", "ffv1", "bgra"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.mpg", "mpeg2video", "yuv420p"),
        ("a.ts", "mpeg2video", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_frames_of_many_formats_are_rgb_with_their_time(name: str, codec: str, pixel_format: str, tmp_path: Path):
    rate_is_fixed = codec == "mpeg2video"  # 25 images a second at least
    path = write_video(tmp_path / name, num_frames=4, codec=codec, pixel_format=pixel_format)

    images, problem = read(path)

    assert problem == ""
    assert [image.frame.index for image in images if image.frame] == [0, 1, 2, 3]
    assert rate_is_fixed or seconds(images) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert all(is_red(image, _TOP_LEFT) and not is_red(image, _TOP_RIGHT) for image in images)
    assert images[0].pixels.dtype == np.uint8
    assert images[0].frame is not None
    video = images[0].frame.video
    assert (video.source, video.size, video.is_live) == (str(path), Size(48, 64), False)
    assert looks_like_video(path.read_bytes()[:HEAD_BYTES])


def test_a_variable_frame_rate_keeps_its_time_stamps(tmp_path: Path):
    path = write_video(tmp_path / "a.mkv", codec="ffv1", ticks=[0, 10, 15, 90, 91])

    images, _ = read(path)

    assert seconds(images) == [0.0, 0.1, 0.15, 0.9, 0.91]


def test_time_counts_from_the_start_of_the_video(tmp_path: Path):
    path = write_video(tmp_path / "a.mkv", codec="ffv1", ticks=[300, 310], avoid_negative_ts="disabled")

    images, _ = read(path)

    assert seconds(images) == pytest.approx([0.0, 0.1])


@pytest.mark.parametrize(
    ("matrix", "size", "corner"),
    [
        ((1, 0, 0, 1), Size(48, 64), (12, 16)),
        # A quarter turn clockwise brings the top left corner to the top right.
        ((0, 1, -1, 0), Size(64, 48), (16, 36)),
        ((0, -1, 1, 0), Size(64, 48), (48, 12)),
        ((-1, 0, 0, -1), Size(48, 64), (36, 48)),
        # Mirrored, as the front cameras of phones do.
        ((-1, 0, 0, 1), Size(48, 64), (12, 48)),
    ],
)
def test_frames_stand_upright(matrix: tuple[int, ...], size: Size, corner: tuple[int, int], tmp_path: Path):
    path = set_display_matrix(write_video(tmp_path / "a.mp4", num_frames=2), *matrix)

    images, _ = read(path)

    assert [image.size for image in images] == [size, size]
    assert all(is_red(image, corner) for image in images)
    assert images[0].frame is not None
    assert images[0].frame.video.size == size


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", {"movflags": "faststart"}), ("a.avi", {}), ("a.mkv", {})],
)
def test_a_truncated_video_gives_what_can_be_read_and_then_says_so(name: str, options: dict[str, str], tmp_path: Path):
    path = cut_short(write_video(tmp_path / name, num_frames=40, **options))

    images, problem = read(path)

    assert 10 < len(images) < 30
    assert "cut short" in problem
    assert f"{len(images)} frames" in problem
    assert "download it again" in problem


def test_damage_in_the_middle_costs_only_what_is_there(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", num_frames=40, codec="libx264")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    length = len(content) // 8
    content[middle : middle + length] = bytes(index * 7 % 256 for index in range(length))
    path.write_bytes(content)

    images, problem = read(path)

    assert 30 <= len(images) < 40
    assert seconds(images)[-1] == pytest.approx(3.9)
    assert "is damaged or cut short" in problem


class _LateStream:
    """A container with a stream that PyAV does not know of when its packets come."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def __enter__(self) -> "_LateStream":
        return self

    def __exit__(self, *_error: object) -> None:
        self._container.close()

    def demux(self) -> Iterator[Any]:
        yield from islice(self._container.demux(), 12)
        raise IndexError("list index out of range")


def test_a_stream_that_begins_in_the_middle_ends_the_video_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, open_file = write_video(tmp_path / "a.avi"), av.open
    monkeypatch.setattr(av, "open", lambda *given, **settings: _LateStream(open_file(*given, **settings)))

    images, problem = read(path)

    assert len(images) == 12
    assert "is damaged or cut short (a stream begins in the middle): 12 frames were read" in problem


def test_a_video_without_its_index_is_refused(tmp_path: Path):
    path = cut_short(write_video(tmp_path / "a.mp4"))

    assert read(path)[0] == []
    assert "is no video that can be read, or its beginning or end is missing" in read(path)[1]


def test_a_video_of_no_frames_says_so(tmp_path: Path):
    path = tmp_path / "a.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()

    assert read(path)[0] == []
    assert read(path)[1].startswith(f"{path} has no frames")


def test_sound_alone_and_empty_files_are_refused(tmp_path: Path):
    sound, empty = tmp_path / "sound.mkv", tmp_path / "empty.mp4"
    empty.touch()
    with av.open(sound, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))

    assert "has no images in it" in read(sound)[1]
    assert "is no video that can be read" in read(empty)[1]


def test_an_unknown_format_of_images_is_refused(tmp_path: Path):
    path = write_video(tmp_path / "a.mkv", codec="ffv1")
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_NONE"))

    assert read(path)[1] == f"{path} has images in a format that PyAV does not know; convert it to MP4"


def test_titles_in_any_encoding_do_not_matter(tmp_path: Path):
    path = write_video(tmp_path / "a.avi", num_frames=2)
    content = path.read_bytes()
    assert b"Lavf" in content
    path.write_bytes(content.replace(b"Lavf", b"L\xe9vf"))

    assert len(read(path)[0]) == 2


def test_huge_frames_are_refused_before_they_are_decoded(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4")

    images, problem = read(path, max_pixels=64 * 48 - 1)

    assert images == []
    assert "has frames of 64x48 pixels, above the limit of 3,071" in problem


def test_a_playlist_that_names_other_files_is_no_video(tmp_path: Path):
    write_video(tmp_path / "a.ts", codec="mpeg2video")
    path = tmp_path / "playlist.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\na.ts\n#EXT-X-ENDLIST\n")

    assert "is no video that can be read" in read(path)[1]


def test_frames_are_counted_from_the_header(tmp_path: Path):
    for name in ("a.mp4", "a.mkv"):
        with write_video(tmp_path / name, num_frames=7).open("rb") as file:
            assert count_frames(file, name) == 7


def test_frames_are_read_only_when_they_are_asked_for(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", num_frames=40)
    with path.open("rb") as file:
        frames = read_video(file, "a.mp4", 10_000)
        next(frames)
        read_so_far = file.tell()
        frames.close()

    assert read_so_far < path.stat().st_size


def test_frames_do_not_pile_up_in_memory(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", num_frames=30)
    gc.collect()
    gc.disable()
    try:
        with path.open("rb") as file:
            for number, _ in enumerate(read_video(file, "a.mp4", 10_000), 1):
                if number == 30:
                    num_alive = sum(type(one) is av.VideoFrame for one in gc.get_objects())
    finally:
        gc.enable()

    assert num_alive < 5


def test_without_pyav_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_video(tmp_path / "a.mp4", num_frames=1)
    monkeypatch.setitem(sys.modules, "av", None)

    assert read(path)[1] == f"reading {path} needs PyAV; pip install 'mspn[video]'"


@pytest.mark.parametrize(
    "head",
    [
        b"\xff\xd8\xff\xe0" + bytes(20),
        b"\x89PNG\r\n\x1a\n" + bytes(20),
        b"\0\0\0\x20ftypavif" + bytes(20),
        b"\0\0\0\x20ftypheic" + bytes(20),
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"GIMP",
        b"",
    ],
)
def test_images_do_not_look_like_videos(head: bytes):
    assert not looks_like_video(head)


@pytest.mark.parametrize("suffix", [".h264", ".ts", ".m2ts", ".m4v", ".m2v", ".y4m", ""])
def test_videos_without_a_container_are_read_by_suffix_and_by_content(suffix: str, tmp_path: Path):
    formats = {".h264": "h264", ".ts": "mpegts", ".m2ts": "mpegts", ".m4v": "m4v", ".m2v": "mpeg2video", "": "h264"}
    codecs = {".m4v": "mpeg4", ".m2v": "mpeg2video", ".y4m": "rawvideo"}
    path = tmp_path / f"a{suffix}"
    with av.open(path, "w", format=formats.get(suffix, "yuv4mpegpipe")) as container:
        stream = container.add_stream(codecs.get(suffix, "libx264"), rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_pixels(number), format="rgb24")))
        container.mux(stream.encode())

    opened = list(open_sources([path]))

    assert [one.size for one in opened if isinstance(one, Image)] == [(48, 64)] * 5
    assert len(opened) == 5
    assert looks_like_video(path.read_bytes()[:HEAD_BYTES])


@pytest.mark.parametrize(
    "ticks",
    [
        [1000 * number for number in range(12)],  # an image every ten seconds
        [1000 + 10 * number for number in range(12)],  # from the tenth second on
        [0, 4, 8, 20, 21, 22, 70, 150, 154, 158, 162, 900],  # with gaps
    ],
    ids=["slow", "offset", "gaps"],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_a_whole_video_is_not_called_cut_short(name: str, ticks: list[int], tmp_path: Path):
    # Images of which some follow on later ones are stored in another order than that of their time.
    path = write_video(tmp_path / name, codec="libx264", ticks=ticks)

    images, problem = read(path)

    assert problem == ""
    assert seconds(images) == pytest.approx([(tick - ticks[0]) / 100 for tick in ticks])


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_slow_video_that_is_cut_short_is_told(name: str, tmp_path: Path):
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    path = write_video(tmp_path / name, codec="libx264", ticks=[1000 * number for number in range(12)], **options)

    images, problem = read(cut_short(path))

    assert len(images) < 12
    assert "cut short" in problem


def test_a_recording_may_begin_between_two_whole_images(tmp_path: Path):
    path = tmp_path / "a.h264"
    with av.open(path, "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 5
        packets = [
            packet
            for number in range(20)
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame_pixels(number), format="rgb24"))
        ]
        packets += stream.encode()
        # Every fifth image is a whole one; the first is left out.
        container.mux(packets[1:])

    images, problem = read(path)

    assert 15 <= len(images) <= 19
    assert problem == ""
