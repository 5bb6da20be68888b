import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from mspn.outputs.drawings import Sound, open_sound
from tests.outputs.video_files import video_of, write_video

_TIMES = [frame / 25 for frame in range(30)]


def test_packets_are_given_once_and_in_time(tmp_path: Path):
    av = pytest.importorskip("av")
    write_video(tmp_path / "in.mp4", _TIMES, "aac")
    sound = open_sound(av, video_of(tmp_path / "in.mp4"))
    assert sound is not None

    first, second = ([float(packet.pts * packet.time_base) for packet in sound.take_until(end)] for end in (0.5, 9.0))
    sound.close()

    assert max(first) < 0.5 <= min(second)
    assert max(second) > 1.1


def test_there_may_be_no_sound(tmp_path: Path):
    av = pytest.importorskip("av")
    write_video(tmp_path / "silent.mp4", _TIMES)
    write_video(tmp_path / "live.mp4", _TIMES, "aac")
    (tmp_path / "playlist.mp4").write_text("#EXTM3U\nhttp://127.0.0.1/a.ts\n")

    assert open_sound(av, video_of(tmp_path / "silent.mp4")) is None
    assert open_sound(av, video_of(tmp_path / "live.mp4", is_live=True)) is None
    assert open_sound(av, video_of(tmp_path / "gone.mp4")) is None
    assert open_sound(av, video_of("https://127.0.0.1/a.mp4")) is None
    assert open_sound(av, video_of(tmp_path / "playlist.mp4")) is None


def test_sound_that_breaks_off_is_said_and_ends(caplog: pytest.LogCaptureFixture):
    av = pytest.importorskip("av")

    def break_off(stream: object) -> Iterator[object]:
        yield SimpleNamespace(pts=100, dts=100, time_base=Fraction(1, 1000))
        raise av.error.InvalidDataError(1, "Invalid data")

    container = SimpleNamespace(streams=[], demux=break_off)

    sound = Sound(av, container, None, "match.mp4")
    with caplog.at_level(logging.WARNING):
        packets = list(sound.take_until(9.0))

    assert [packet.pts for packet in packets] == [100]
    assert "match.mp4: its sound ends early (Invalid data); the rest is silent" in caplog.text


def test_titles_in_any_encoding_do_not_matter(tmp_path: Path):
    av = pytest.importorskip("av")
    write_video(tmp_path / "in.mkv", _TIMES, "aac")
    content = (tmp_path / "in.mkv").read_bytes()
    assert b"Lavf" in content
    (tmp_path / "in.mkv").write_bytes(content.replace(b"Lavf", b"L\xe9vf"))

    sound = open_sound(av, video_of(tmp_path / "in.mkv"))

    assert sound is not None
    sound.close()
