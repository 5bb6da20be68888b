import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.io.image_headers import read_header
from mspn.io.images import decode_image, decode_jpeg, encode_jpeg, read_image, read_reduced_image, write_jpeg
from tests.full_disk import full_disk


def test_a_jpeg_shows_what_was_written(tmp_path: Path):
    pixels = np.full((30, 40, 3), (200, 100, 50), np.uint8)

    write_jpeg(tmp_path / "folder" / "a.jpg", pixels)

    assert abs(read_image(tmp_path / "folder" / "a.jpg").astype(int) - pixels).max() <= 3
    assert (tmp_path / "folder" / "a.jpg").read_bytes() == encode_jpeg(pixels)


def test_what_is_too_long_for_a_jpeg_is_made_smaller(tmp_path: Path):
    write_jpeg(tmp_path / "a.jpg", np.zeros((20, 131_000, 3), np.uint8))

    # Half the size.
    assert read_image(tmp_path / "a.jpg").shape == (10, 65_500, 3)


def test_an_image_without_room_on_the_disk_leaves_nothing(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)

    with full_disk(1000), pytest.raises(OSError, match=r"could not write .*a.jpg \(.*\); is there room on the disk"):
        write_jpeg(tmp_path / "a.jpg", noise)

    assert list(tmp_path.iterdir()) == []


NOISE = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)


def jpeg_of(*options: int) -> bytes:
    return cv2.imencode(".jpg", NOISE, options)[1].tobytes()


def overwritten(jpeg: bytes) -> bytes:
    """Zeros in place of a tenth of the file, from its middle on."""
    middle, length = len(jpeg) // 2, len(jpeg) // 10
    return jpeg[:middle] + bytes(length) + jpeg[middle + length :]


def with_a_stray_end(jpeg: bytes) -> bytes:
    """Cut short, but with an end marker, as some programs save what they have."""
    return jpeg[: len(jpeg) // 2] + b"\xff\xd9"


def with_junk(jpeg: bytes) -> bytes:
    """Three bytes between the third restart marker and what precedes it."""
    place = jpeg.index(b"\xff\xd2")
    return jpeg[:place] + b"\x01\x02\x03" + jpeg[place:]


RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
DAMAGED = {
    "overwritten": overwritten(jpeg_of()),
    "overwritten, progressive": overwritten(jpeg_of(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    "overwritten, with restarts": overwritten(jpeg_of(*RESTARTS)),
    "with a stray end": with_a_stray_end(jpeg_of()),
    "with junk": with_junk(jpeg_of(*RESTARTS)),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_jpeg_is_decoded_as_far_as_it_goes_and_told(
    kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    image = decode_image(DAMAGED[kind], "damaged.jpg")

    (message,) = caplog.messages
    assert message.startswith("damaged.jpg is damaged (Corrupt JPEG data: ")
    assert message.endswith("): a part of its pixels may be wrong; copy or download it again")
    assert capfd.readouterr().err == ""
    assert image.shape == (128, 128, 3)
    if "progressive" not in kind:  # whose first scans hold all of the image
        np.testing.assert_array_equal(image[:32], decode_image(jpeg_of(), "sound.jpg")[:32])


def test_a_damaged_jpeg_that_is_read_smaller_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "a.jpg").write_bytes(DAMAGED["overwritten"])

    image = read_reduced_image(tmp_path / "a.jpg", 2)

    assert (image.pixels.shape, image.reduction) == ((64, 64, 3), 2)
    assert image.damage.startswith("Corrupt JPEG data: ")
    assert caplog.messages == []


@pytest.mark.parametrize("options", [(), RESTARTS, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_a_sound_jpeg_has_the_pixels_that_opencv_gives(options: tuple[int, ...], reduction: int):
    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    # 93 and 101 are no multiples of 8.
    jpeg = cv2.imencode(".jpg", NOISE[:93, :101], options)[1].tobytes()
    header = read_header(io.BytesIO(jpeg))
    assert header is not None

    image = decode_jpeg(jpeg, header, reduction)

    assert image is not None
    assert (image.damage, image.reduction) == ("", reduction)
    np.testing.assert_array_equal(
        image.pixels, cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags[reduction])[..., ::-1]
    )


def test_a_warning_that_is_not_about_pixels_is_no_damage(caplog: pytest.LogCaptureFixture):
    # The high byte of JFIF's version, which libjpeg knows as 1.
    jpeg = jpeg_of().replace(b"JFIF\0\1", b"JFIF\0\7")

    np.testing.assert_array_equal(decode_image(jpeg, "new.jpg"), decode_image(jpeg_of(), "old.jpg"))
    assert caplog.messages == []


def test_a_jpeg_of_unusual_sampling_is_read():
    gray = np.full((24, 24, 3), 77, np.uint8)
    jpeg = bytearray(cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x411111])[1].tobytes())
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 11] = 0x31  # three times as wide as colors, in place of four
    header = read_header(io.BytesIO(jpeg))
    assert header is not None
    assert decode_jpeg(jpeg, header, 1) is None

    assert decode_image(bytes(jpeg), "odd.jpg").shape == (24, 24, 3)
