import io
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mspn.io.limits import InputLimits
from mspn.sources import count_images, open_sources
from mspn.structures.image import Image, SourceFailure

pillow: Any = pytest.importorskip("PIL.Image")
_GRAYS = (10, 120, 250)


def write_frames(path: Path, *grays: int, size: tuple[int, int] = (20, 10), **options: Any) -> Path:
    """Frames of one gray each, 20 wide and 10 high."""
    first, *others = (pillow.new("RGB", size, (gray, gray, gray)) for gray in grays)
    first.save(path, save_all=True, append_images=others, **options)
    return path


def read(path: Path, **limits: Any) -> tuple[list[Image], str]:
    """All images, and the problem that follows them."""
    opened = list(open_sources([path], InputLimits(**limits)))
    problems = [one.problem for one in opened if isinstance(one, SourceFailure)]
    return [one for one in opened if isinstance(one, Image)], " ".join(problems)


def grays(images: list[Image]) -> list[int]:
    return [int(image.pixels[5, 10, 0]) for image in images]


def seconds(images: list[Image]) -> list[float]:
    return [image.frame.seconds for image in images if image.frame]


@pytest.mark.parametrize(
    ("name", "options", "times"),
    [
        ("stack.tif", {}, [0, 0.04, 0.08]),
        ("animated.webp", {"duration": [100, 300, 50], "lossless": True}, [0, 0.1, 0.4]),
        ("animated.png", {"duration": [100, 300, 50]}, [0, 0.1, 0.4]),
        ("animated.gif", {"duration": [100, 300, 50]}, [0, 0.1, 0.4]),
    ],
)
def test_every_frame_of_an_image_file_is_read(name: str, options: dict[str, Any], times: list[float], tmp_path: Path):
    pytest.importorskip("av")
    path = write_frames(tmp_path / name, *_GRAYS, **options)

    images, problem = read(path)

    assert problem == ""
    np.testing.assert_allclose(grays(images), _GRAYS, atol=1)
    assert seconds(images) == pytest.approx(times)
    assert [image.frame.index for image in images if image.frame] == [0, 1, 2]
    assert count_images([path]) == (1 if name.endswith("png") else 3)


def test_the_content_tells_how_many_frames_there_are(tmp_path: Path):
    path = write_frames(tmp_path / "animated.webp", *_GRAYS, lossless=True).rename(tmp_path / "photo.jpg")

    assert grays(read(path)[0]) == list(_GRAYS)


@pytest.mark.parametrize("name", ["a.tif", "a.webp", "a.png"])
def test_a_file_of_one_frame_is_a_single_image(name: str, tmp_path: Path):
    images, _problem = read(write_frames(tmp_path / name, 120))

    assert [image.frame for image in images] == [None]


def test_smaller_versions_of_a_page_are_no_frames(tmp_path: Path):
    first, preview = pillow.new("RGB", (20, 10), (9, 9, 9)), pillow.new("RGB", (10, 5))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(tmp_path / "a.tif", save_all=True, append_images=[preview])

    images, problem = read(tmp_path / "a.tif")

    assert (grays(images), problem, images[0].frame) == ([9], "", None)


def test_pages_of_sixteen_bits_are_told_once_and_stretched(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    # The high bytes of 2730 and 4095 are 10 and 15; of a page's largest value the second is two thirds.
    first, second = (pillow.fromarray(np.array([[0, value, 4095]] * 6, np.uint16)) for value in (1365, 2730))
    first.save(tmp_path / "stack.tif", save_all=True, append_images=[second])

    dark, _problem = read(tmp_path / "stack.tif")
    told = len(caplog.messages)
    bright, _problem = read(tmp_path / "stack.tif", stretch=True)

    assert [image.pixels[0, :, 0].tolist() for image in dark] == [[0, 5, 15], [0, 10, 15]]
    assert [image.pixels[0, :, 0].tolist() for image in bright] == [[0, 85, 255], [0, 170, 255]]
    assert told == len(caplog.messages) == 1


def test_a_truncated_file_gives_what_can_be_read_and_then_says_so(tmp_path: Path):
    noise = [np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8) for seed in range(3)]
    first, *others = map(pillow.fromarray, noise)
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: int(len(content) * 0.8)])

    images, problem = read(tmp_path / "a.png")

    assert len(images) == 2
    assert "a.png is damaged or cut short (" in problem
    assert ": 2 frames were read, others could not be; copy or download it again" in problem


def test_large_frames_are_refused_before_they_are_decoded(tmp_path: Path):
    path = write_frames(tmp_path / "a.webp", *_GRAYS)

    # A third of 599 is less than 20 x 10.
    assert len(read(path, max_pixels=600)[0]) == 3
    assert (
        "a.webp has 3 frames of 20x10 pixels, above the limit of 199; make it smaller" in read(path, max_pixels=599)[1]
    )


def test_without_pillow_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_frames(tmp_path / "stack.tif", *_GRAYS)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)

    assert read(path)[1] == f"{path} has 3 frames; reading them needs Pillow; pip install 'mspn[video]'"


def jpeg(gray: int, height: int = 48) -> bytes:
    return cv2.imencode(".jpg", np.full((height, 64, 3), gray, np.uint8))[1].tobytes()


def multipart(frames: list[bytes]) -> bytes:
    return b"".join(
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(frame), frame)
        for frame in frames
    )


@pytest.mark.parametrize("join", [b"".join, b"\r\n".join, multipart], ids=["bare", "lines", "as cameras send it"])
@pytest.mark.parametrize("name", ["camera.mjpeg", "camera.jpg", "camera"])
def test_jpegs_behind_each_other_are_a_video(join: Any, name: str, tmp_path: Path):
    pytest.importorskip("av")
    (tmp_path / name).write_bytes(join([jpeg(gray) for gray in _GRAYS]))

    images, problem = read(tmp_path / name)

    assert problem == ""
    np.testing.assert_allclose(grays(images), _GRAYS, atol=2)
    assert seconds(images) == pytest.approx([0, 0.04, 0.08])


@pytest.mark.parametrize(("orientation", "size"), [(1, (48, 64)), (3, (48, 64)), (6, (64, 48)), (8, (64, 48))])
def test_jpegs_of_cameras_may_have_exif(orientation: int, size: tuple[int, int], tmp_path: Path):
    # One tag, 0x0112, a short.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + bytes(4)
    half = np.zeros((48, 64, 3), np.uint8)
    half[:, :32] = 250
    encoded = cv2.imencode(".jpg", half)[1].tobytes()
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    frame = encoded[:2] + segment + encoded[2:]
    (tmp_path / "a.mjpeg").write_bytes(3 * frame)
    (tmp_path / "a.jpg").write_bytes(frame)

    frames, problem = read(tmp_path / "a.mjpeg")
    (single,), _problem = read(tmp_path / "a.jpg")

    assert (problem, [image.size for image in frames]) == ("", [size] * 3)
    assert np.abs(frames[0].pixels.astype(int) - single.pixels).max() < 8


def test_a_photo_with_a_preview_or_a_second_view_behind_it_is_a_single_image(tmp_path: Path):
    segment = b"\xff\xe2\x00\x08MPF\0\0\0"
    views = jpeg(120)[:2] + segment + jpeg(120)[2:] + jpeg(10)
    for name, content in (("preview.jpg", jpeg(120) + jpeg(10, height=24)), ("views.jpg", views)):
        (tmp_path / name).write_bytes(content)

        images, _problem = read(tmp_path / name)

        assert [image.frame for image in images] == [None]
        assert grays(images) == [120]


def test_the_first_image_of_a_png_may_not_be_of_its_animation(tmp_path: Path):
    still = pillow.new("RGB", (20, 10), (77, 77, 77))
    others = [pillow.new("RGB", (20, 10), (gray, gray, gray)) for gray in (10, 250)]
    still.save(tmp_path / "a.png", save_all=True, append_images=others, default_image=True)

    assert grays(read(tmp_path / "a.png")[0]) == [10, 250]


def test_every_frame_stands_upright(tmp_path: Path):
    exif = pillow.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    first, second = (pillow.new("RGB", (20, 10), (gray, gray, gray)) for gray in (10, 250))
    first.save(buffer, "PNG", save_all=True, append_images=[second], exif=exif)
    (tmp_path / "a.png").write_bytes(buffer.getvalue())

    assert [image.size for image in read(tmp_path / "a.png")[0]] == [(20, 10), (20, 10)]
