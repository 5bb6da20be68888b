"""Small video files, made on the spot."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Size
from mspn.structures.image import FrameInfo, Image, Video
from tests.outputs.results import a_pose

SIZE = Size(64, 80)
TIME_BASE = Fraction(1, 60_000)
SOUND_RATE = 48_000


def write_video(path: Path, times: Sequence[float], sound_codec: str | None = None) -> None:
    """Gray frames at these seconds, and a tone as long as they last."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        images = file.add_stream("mpeg4", 25)
        images.width, images.height, images.pix_fmt = SIZE.width, SIZE.height, "yuv420p"
        images.codec_context.time_base = TIME_BASE
        sound = file.add_stream(sound_codec, SOUND_RATE, layout="mono") if sound_codec else None
        for seconds in times:
            frame = av.VideoFrame.from_ndarray(np.full((*SIZE, 3), 90, np.uint8), format="rgb24").reformat(
                format="yuv420p"
            )
            frame.time_base, frame.pts = TIME_BASE, round(seconds / TIME_BASE)
            file.mux(images.encode(frame))
        file.mux(images.encode(None))
        if sound is not None:
            for start in range(0, int(SOUND_RATE * times[-1]), 1024):
                wave = np.sin(np.arange(start, start + 1024) * 0.05)[None].astype(np.float32)
                tone = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                tone.sample_rate, tone.pts, tone.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
                file.mux(sound.encode(tone))
            file.mux(sound.encode(None))


def read_times(path: Path) -> list[float]:
    """Seconds of the frames of a video."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as file:
        return [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]


def read_frames(path: Path) -> list[np.ndarray]:
    """RGB frames of a video."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def read_sound(path: Path) -> list[bytes]:
    """Compressed packets of the sound of a video."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


def video_of(path: Path | str, **changes: Any) -> Video:
    return Video(
        **(
            {"source": str(path), "size": SIZE, "frame_rate": Fraction(25), "num_frames": None, "is_live": False}
            | changes
        )
    )


def results_of(video: Video, times: Sequence[float]) -> list[ImageResult]:
    """Somebody in gray frames at these seconds."""
    return [
        ImageResult(
            video.source,
            Image(video.source, np.full((*video.size, 3), 90, np.uint8), FrameInfo(video, frame, seconds)),
            [a_pose()],
            [],
        )
        for frame, seconds in enumerate(times)
    ]
