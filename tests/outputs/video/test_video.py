import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspn.outputs.drawings import Sound, VideoWriter
from mspn.structures.boxes import Size
from tests.full_disk import full_disk
from tests.outputs.results import of_image
from tests.outputs.video_files import (
    read_frames,
    read_sound,
    read_times,
    results_of,
    video_of,
    write_video,
)

_STEADY = [0.0, 0.04, 0.08, 0.12]


def _write(folder: Path, source: Path | str, times: list[float], **changes: object) -> Path:
    writer = VideoWriter(folder)
    for result in results_of(video_of(source, **changes), times):
        writer.write(result)
    writer.close()
    (path,) = (folder / "videos").iterdir()
    return path


def test_frames_stand_at_their_times_whatever_the_rate(tmp_path: Path):
    pytest.importorskip("av")
    times = [0.1, 0.15, 0.4, 0.41, 1.0]

    path = _write(tmp_path, "gone.mp4", times)

    assert path.name == "gone.mp4"
    assert read_times(path) == pytest.approx(times, abs=1e-4)


def test_skeletons_are_drawn_on_the_frames(tmp_path: Path):
    pytest.importorskip("av")

    first = read_frames(_write(tmp_path, "gone.mp4", _STEADY))[0].astype(int)

    # The pose goes from (0, 1) to (32, 33); the lower right is the gray of the original.
    assert first.shape == (64, 80, 3)
    assert abs(first[40:, 60:] - 90).max() <= 4
    assert np.ptp(first[:34, :34], axis=2).max() > 100


def test_the_sound_is_copied_as_it_stands_there(tmp_path: Path):
    times = [frame / 25 for frame in range(30)]
    write_video(tmp_path / "in.mp4", times, "aac")

    path = _write(tmp_path, tmp_path / "in.mp4", times)

    sound, original = read_sound(path), read_sound(tmp_path / "in.mp4")
    assert len(sound) > 50
    assert sound == original[: len(sound)]
    # The last frame ends at 1.2 s; the tone is over before.
    assert len(sound) == len(original)


def test_sound_that_cannot_be_copied_is_said_once_and_the_video_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    times = [frame / 25 for frame in range(30)]
    write_video(tmp_path / "in.mp4", times, "aac")
    read_on = Sound._read

    def read_backwards(self: Sound) -> Iterator[Any]:
        for packet in read_on(self):
            packet.pts = packet.dts = -packet.dts
            yield packet

    monkeypatch.setattr(Sound, "_read", read_backwards)
    with caplog.at_level(logging.WARNING):
        path = _write(tmp_path, tmp_path / "in.mp4", times)

    assert read_times(path) == pytest.approx(times, abs=1e-4)
    assert caplog.text.count("in.mp4: its sound ends early") == 1


def test_the_sound_ends_with_the_last_frame(tmp_path: Path):
    times = [frame / 25 for frame in range(30)]
    write_video(tmp_path / "in.mp4", times, "aac")

    path = _write(tmp_path, tmp_path / "in.mp4", times[:10])

    # 10 frames are 0.4 s, which is 18.75 packets of 1024 samples; the encoder begins with one of silence.
    assert 18 <= len(read_sound(path)) <= 20


def test_sound_that_players_do_not_know_in_mp4_makes_it_matroska(tmp_path: Path):
    write_video(tmp_path / "in.avi", _STEADY, "pcm_s16le")

    path = _write(tmp_path, tmp_path / "in.avi", _STEADY)

    assert path.name == "in.mkv"
    # Matroska counts milliseconds.
    assert read_times(path) == pytest.approx(_STEADY, abs=1e-3)
    assert b"".join(read_sound(path)) == b"".join(read_sound(tmp_path / "in.avi"))


def test_a_camera_has_no_sound_and_gets_a_file_too(tmp_path: Path):
    pytest.importorskip("av")

    path = _write(tmp_path, "0", [0.0, 0.05, 0.2], is_live=True, frame_rate=None)

    assert path.name == "0.mp4"
    assert len(read_times(path)) == 3


def test_odd_sizes_grow_by_the_row_or_column_that_encoders_want(tmp_path: Path):
    pytest.importorskip("av")

    path = _write(tmp_path, "gone.mp4", _STEADY, size=Size(63, 79))

    assert read_frames(path)[0].shape == (64, 80, 3)


def test_each_video_has_a_file_of_its_own(tmp_path: Path):
    pytest.importorskip("av")
    writer = VideoWriter(tmp_path)

    for source, times in (("a/match.mp4", _STEADY), ("b/match.mp4", _STEADY[:2])):
        for result in results_of(video_of(source), times):
            writer.write(result)
    writer.write(of_image("c.jpg"))
    writer.close()

    lengths = {path.name: len(read_times(path)) for path in (tmp_path / "videos").iterdir()}
    assert lengths == {"match.mp4": 4, "match.mp4.mp4": 2}


def test_frames_at_one_time_stand_one_after_the_other(tmp_path: Path):
    pytest.importorskip("av")

    times = read_times(_write(tmp_path, "gone.mp4", [0.0, 0.0, 0.04]))

    assert times == sorted(set(times))
    assert len(times) == 3


def test_without_h264_it_is_mpeg_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("av")
    monkeypatch.setattr("mspn.outputs.drawings._ENCODERS", {"libx999": {}, "mpeg4": {}})

    path = _write(tmp_path, "gone.mp4", _STEADY)

    assert read_times(path) == pytest.approx(_STEADY, abs=1e-4)


def test_the_video_appears_when_it_is_whole(tmp_path: Path):
    pytest.importorskip("av")
    writer = VideoWriter(tmp_path)
    first, second = results_of(video_of("match.mp4"), _STEADY[:2])

    writer.write(first)
    assert list(tmp_path.glob("videos/*.mp4")) == []
    writer.write(second)
    writer.close()

    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["match.mp4"]


def test_images_alone_give_no_video(tmp_path: Path):
    pytest.importorskip("av")
    writer = VideoWriter(tmp_path)

    writer.write(of_image("a.jpg"))
    writer.close()

    assert list(tmp_path.iterdir()) == []


def test_a_video_never_takes_the_place_of_its_original(tmp_path: Path):
    (tmp_path / "videos").mkdir()
    source = tmp_path / "videos" / "match.mp4"
    write_video(source, _STEADY)
    before = source.read_bytes()

    with pytest.raises(ValueError, match=r"would take the place of .*match.mp4 itself; choose another --out"):
        _write(tmp_path, source, _STEADY)

    assert source.read_bytes() == before


def _write_noise(writer: VideoWriter, num_frames: int) -> None:
    random = np.random.default_rng(0)
    for result in results_of(video_of("match.mp4"), [frame / 25 for frame in range(num_frames)]):
        assert result.image is not None
        noise = random.integers(0, 255, result.image.pixels.shape, dtype=np.uint8)
        writer.write(replace(result, image=replace(result.image, pixels=noise)))


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path):
    pytest.importorskip("av")
    writer = VideoWriter(tmp_path)
    message = r"could not write .*match.mp4 \(.*\); is there room on the disk\?"

    with full_disk(2000):
        with pytest.raises(OSError, match=message):
            _write_noise(writer, 200)
        with pytest.raises(OSError, match=message):
            writer.close()

    assert list((tmp_path / "videos").iterdir()) == []


def test_without_pyav_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(ValueError, match=r"--save video needs PyAV; pip install 'mspn\[video\]', or save images"):
        VideoWriter(tmp_path)
