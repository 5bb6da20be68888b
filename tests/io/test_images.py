import io
import struct
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mspn.errors import ImageError
from mspn.io.image_headers import read_header, read_size
from mspn.io.images import decode_image, read_image, read_reduced_image
from mspn.structures.boxes import Size

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
LETTERS = {"R": RED, "G": GREEN, "B": BLUE, "W": WHITE}


def four_quarters() -> np.ndarray:
    """RGB, 32 high and 64 wide: red and green above, blue and white below."""
    image = np.zeros((32, 64, 3), np.uint8)
    image[:16, :32], image[:16, 32:], image[16:, :32], image[16:, 32:] = RED, GREEN, BLUE, WHITE
    return image


def encode(rgb: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, rgb[..., ::-1])[1].tobytes()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def letters_of(image: np.ndarray) -> str:
    """The colors in the middles of the four quarters, row by row."""
    height, width = image.shape[:2]
    middles = [image[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    names = [min(LETTERS, key=lambda letter: np.abs(middle - np.array(LETTERS[letter])).sum()) for middle in middles]
    return f"{names[0]}{names[1]}/{names[2]}{names[3]}"


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, color_type: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0))


def with_exif(jpeg: bytes, orientation: int, thumbnail: bytes = b"") -> bytes:
    """A JPEG with an Exif segment put in."""
    content = b"Exif\x00\x00" + exif(orientation) + thumbnail
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def cmyk_jpeg(inks: tuple[int, int, int, int]) -> bytes:
    """One 8x8 block of one color in Adobe's inverted CMYK: 255 is no ink."""

    def segment(marker: int, content: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

    # Differences of 0 to 8 bits have the codes 0000 to 1000; the end of a block has the code 0.
    first_codes = segment(0xC4, bytes([0x00, 0, 0, 0, 9, *[0] * 12, *range(9)]))
    other_codes = segment(0xC4, bytes([0x10, 1, *[0] * 15, 0x00]))
    bits = ""
    for ink in inks:
        # With a quantizer of 8, the first coefficient is the level above 128; negative ones are written less one.
        level = ink - 128
        length = abs(level).bit_length()
        bits += (
            f"{length:04b}" + (f"{level if level > 0 else level + 2**length - 1:0{length}b}" if length else "") + "0"
        )
    bits += "1" * (-len(bits) % 8)
    scan = bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)).replace(b"\xff", b"\xff\x00")
    components = range(1, 5)
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0)),
            segment(0xDB, bytes([0, *[8] * 64])),
            segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 4) + b"".join(bytes([c, 0x11, 0]) for c in components)),
            first_codes,
            other_codes,
            segment(0xDA, bytes([4]) + b"".join(bytes([c, 0x00]) for c in components) + bytes([0, 63, 0])),
            scan,
            b"\xff\xd9",
        ]
    )


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_a_lossless_image_comes_out_as_rgb(suffix: str, tmp_path: Path):
    image = noise(6, 10)
    path = tmp_path / f"image{suffix}"
    path.write_bytes(encode(image, suffix))

    np.testing.assert_array_equal(read_image(path), image)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_lossy_image_comes_out_as_rgb(suffix: str):
    image = decode_image(encode(four_quarters(), suffix), "image")

    assert image.shape == (32, 64, 3)
    assert image.dtype == np.uint8
    assert letters_of(image) == "RG/BW"


def test_the_content_decides_and_not_the_suffix(tmp_path: Path):
    path = tmp_path / "image.jpg"
    path.write_bytes(encode(four_quarters(), ".png"))

    np.testing.assert_array_equal(read_image(path), four_quarters())


def test_gray_is_repeated_over_the_channels():
    gray = np.array([[0, 100, 255]], np.uint8)

    image = decode_image(cv2.imencode(".png", gray)[1].tobytes(), "gray")

    np.testing.assert_array_equal(image, [[[0, 0, 0], [100, 100, 100], [255, 255, 255]]])


def test_16_bits_are_scaled_to_8():
    deep = np.array([[[0x0000, 0x8000, 0xFFFF]]], np.uint16)  # blue, green, red for the writer

    image = decode_image(cv2.imencode(".png", deep)[1].tobytes(), "deep")

    np.testing.assert_array_equal(image, [[[255, 128, 0]]])


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_transparency_is_laid_on_white(suffix: str):
    # Blue, green, red, opacity: opaque red, invisible red, and black at 20 % opacity: 0.8 of white is 204.
    pixels = np.array([[[0, 0, 255, 255], [0, 0, 255, 0], [0, 0, 0, 51]]], np.uint8)

    image = decode_image(cv2.imencode(suffix, pixels)[1].tobytes(), "alpha")

    np.testing.assert_array_equal(image, [[RED, WHITE, (204, 204, 204)]])


def test_transparency_of_a_webp_is_laid_on_white():
    pixels = np.zeros((16, 16, 4), np.uint8)

    image = decode_image(cv2.imencode(".webp", pixels)[1].tobytes(), "alpha")

    np.testing.assert_array_equal(image, np.full((16, 16, 3), 255))


def test_transparency_of_16_bits_is_laid_on_white():
    # Black at half opacity: half of white is 127.5, and a little less than half is transparent.
    pixels = np.array([[[0, 0, 0, 0x8000]]], np.uint16)

    image = decode_image(cv2.imencode(".png", pixels)[1].tobytes(), "alpha")

    np.testing.assert_array_equal(image, [[[127, 127, 127]]])


@pytest.mark.parametrize(("opacity", "on_white"), [(0, [255, 255, 255]), (128, [227, 177, 152]), (255, [200, 100, 50])])
def test_transparency_of_a_tiff_is_laid_on_white_once(opacity: int, on_white: list[int]):
    # 200 * 128 / 255 + 127 is 227.4. Decoders of 8 bits multiply colors by the opacity themselves.
    encoded = io.BytesIO()
    Image.new("RGBA", (8, 8), (200, 100, 50, opacity)).save(encoded, "TIFF")

    assert decode_image(encoded.getvalue(), "x.tif")[0, 0].tolist() == on_white


def test_the_transparent_value_of_a_gray_png_is_white():
    for depth, image in (("L", Image.new("L", (8, 8), 7)), ("1", Image.new("1", (8, 8), 1))):
        encoded = io.BytesIO()
        image.putpixel((3, 0), 0)
        image.save(encoded, "PNG", transparency=0)
        others = 7 if depth == "L" else 255

        assert decode_image(encoded.getvalue(), "x.png")[0, 2:4, 0].tolist() == [others, 255]


def test_a_gray_tiff_whose_transparency_is_lost_says_so(caplog: pytest.LogCaptureFixture):
    encoded = io.BytesIO()
    Image.new("LA", (8, 8), (200, 255)).save(encoded, "TIFF")

    assert decode_image(encoded.getvalue(), "x.tif")[0, 0].tolist() == [200, 200, 200]
    assert "x.tif is gray with transparency, which is not used; convert it to PNG" in caplog.text


def test_transparency_of_gray_and_of_a_palette_is_laid_on_white():
    end = png_chunk(b"IEND", b"")
    gray = png_header(2, 1, color_type=4) + png_chunk(b"IDAT", zlib.compress(bytes([0, 100, 255, 100, 0]))) + end
    palette = png_header(2, 1, color_type=3) + png_chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
    palette += png_chunk(b"tRNS", bytes([255, 0])) + png_chunk(b"IDAT", zlib.compress(bytes([0, 0, 1]))) + end

    np.testing.assert_array_equal(decode_image(gray, "gray"), [[[100, 100, 100], WHITE]])
    np.testing.assert_array_equal(decode_image(palette, "palette"), [[[10, 20, 30], WHITE]])


@pytest.mark.parametrize(
    ("inks", "color"),
    [
        ((255, 0, 0, 255), RED),
        ((0, 255, 0, 255), GREEN),
        ((255, 255, 255, 255), WHITE),
        ((255, 255, 255, 0), (0, 0, 0)),
    ],
    ids=["red", "green", "white", "black"],
)
def test_cmyk_is_converted(inks: tuple[int, int, int, int], color: tuple[int, int, int]):
    image = decode_image(cmyk_jpeg(inks), "cmyk")

    np.testing.assert_allclose(image, np.broadcast_to(color, (8, 8, 3)), atol=2)


def test_a_missing_image_is_refused(tmp_path: Path):
    path = tmp_path / "nowhere.jpg"

    with pytest.raises(ImageError, match=r"no image at .*nowhere\.jpg; check the path"):
        read_image(path)


def test_a_folder_is_no_image(tmp_path: Path):
    with pytest.raises(ImageError, match="no image at"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image at all\n", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF\x00\x00\x00\x00WEBPVP8X"],
    ids=["empty", "text", "jpeg marker", "png marker", "bmp marker", "webp marker"],
)
def test_a_file_that_holds_no_image_is_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "notes.jpg"
    path.write_bytes(content)

    with pytest.raises(ImageError, match=r"notes\.jpg is (not an image that can be read|cut short)"):
        read_image(path)


def test_a_text_file_is_called_no_image(tmp_path: Path):
    path = tmp_path / "notes.jpg"
    path.write_text("hello")

    with pytest.raises(
        ImageError, match=r"is not an image that can be read, or it is damaged; convert it to JPEG or PNG"
    ):
        read_image(path)


@pytest.mark.parametrize("progressive", [0, 1], ids=["baseline", "progressive"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_a_jpeg_that_is_cut_short_is_refused(kept: float, progressive: int):
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    jpeg = cv2.imencode(".jpg", noise(64, 64), options)[1].tobytes()

    with pytest.raises(ImageError, match=r"half is cut short \(a JPEG without its end\); copy or download it again"):
        decode_image(jpeg[: int(len(jpeg) * kept)], "half")


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.99])
def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image(kept: float):
    thumbnail = encode(noise(16, 16), ".jpg")
    whole = with_exif(encode(noise(64, 64), ".jpg"), 1, thumbnail)
    half = whole[: int(len(whole) * kept)]
    assert thumbnail in half

    assert decode_image(whole, "whole").shape == (64, 64, 3)
    with pytest.raises(ImageError, match="half is cut short"):
        decode_image(half, "half")


def test_bytes_after_the_end_of_a_jpeg_do_not_matter():
    jpeg = encode(four_quarters(), ".jpg")

    assert letters_of(decode_image(jpeg + b"\x00" * 50, "padded")) == "RG/BW"


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tiff"])
def test_other_images_that_are_cut_short_are_refused(suffix: str):
    encoded = encode(noise(64, 64), suffix)

    with pytest.raises(ImageError, match="half is not an image that can be read, or it is damaged"):
        decode_image(encoded[: len(encoded) // 2], "half")


def giant_headers() -> dict[str, bytes]:
    """Files of a few bytes that declare 60000 x 60000 pixels."""
    jpeg = bytearray(encode(noise(8, 8), ".jpg"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60000, 60000)
    bitmap = bytearray(encode(noise(8, 8), ".bmp"))
    bitmap[18:26] = struct.pack("<ii", 60000, -60000)
    side = (60000 - 1).to_bytes(3, "little")
    webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + side + side
    # Two tags, width and height, each one 32-bit number; lossy and lossless WebP have 14 bits for a side.
    tiff = b"MM\0*" + struct.pack(">IHHHIIHHII", 8, 2, 256, 4, 1, 60000, 257, 4, 1, 60000)
    gif = b"GIF89a" + struct.pack("<HH", 60000, 60000)
    # The second part is the larger one.
    avif = b"\0\0\0\x1cftypavif" + b"".join(b"ispe" + struct.pack(">III", 0, side, side) for side in (8, 60000, 9))
    others = {"bmp": bytes(bitmap), "webp": webp, "tiff": tiff, "gif": gif, "avif": avif}
    return {"png": png_header(60000, 60000), "jpeg": bytes(jpeg), **others}


@pytest.mark.parametrize("kind", giant_headers())
def test_a_few_bytes_that_declare_too_many_pixels_are_refused(kind: str):
    with pytest.raises(
        ImageError, match=r"bomb has 60000x60000 pixels, above the limit of 100,000,000; make it smaller"
    ):
        decode_image(giant_headers()[kind], "bomb")


def test_what_hides_its_size_is_not_decoded():
    # OpenCV reads both, however large: a format whose header is not looked at, and a JPEG with a stray byte after its
    # first segment.
    portable, jpeg = encode(noise(8, 8), ".ppm"), encode(noise(8, 8), ".jpg")
    jpeg = jpeg[:20] + b"\0" + jpeg[20:]
    assert all(cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) is not None for one in (portable, jpeg))

    for encoded in (portable, jpeg):
        with pytest.raises(ImageError, match="hidden is not an image that can be read, or it is damaged"):
            decode_image(encoded, "hidden")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp"])
def test_the_limit_on_pixels_holds_for_every_format(suffix: str):
    encoded = encode(noise(8, 10), suffix)

    assert decode_image(encoded, "fits", max_pixels=80).shape == (8, 10, 3)
    with pytest.raises(ImageError, match="large has 10x8 pixels, above the limit of 79"):
        decode_image(encoded, "large", max_pixels=79)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "image.png"
    path.write_bytes(b"\x00" * (2 * 2**20 + 1))
    monkeypatch.setattr("mspn.io.images.MAX_FILE_BYTES", 2 * 2**20)

    with pytest.raises(ImageError, match=r"image\.png is larger than 2 MiB; make it smaller first"):
        read_image(path)


@pytest.mark.parametrize("quality", [50, 101], ids=["lossy", "lossless"])
def test_the_size_of_a_webp_without_extensions_is_known_before_it_is_decoded(quality: int):
    encoded = cv2.imencode(".webp", np.zeros((300, 400, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    cut_short = encoded[:40]

    with pytest.raises(ImageError, match="bomb has 400x300 pixels, above the limit of 1,000;"):
        decode_image(cut_short, "bomb", max_pixels=1000)


def test_a_tiff_is_read():
    drawn = np.random.default_rng(5).integers(0, 255, (20, 30, 3), np.uint8)
    encoded = cv2.imencode(".tiff", drawn)[1].tobytes()

    np.testing.assert_array_equal(decode_image(encoded, "a.tiff"), drawn[..., ::-1])
    with pytest.raises(ImageError, match="has 30x20 pixels"):
        decode_image(encoded, "a.tiff", max_pixels=100)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_the_size_is_read_from_the_header(suffix: str, tmp_path: Path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode(noise(33, 65), suffix))

    assert read_size(path) == Size(height=33, width=65)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0\x00", b"\x89PNG\r\n\x1a\n", b"II*\0\0\0\0\0"])
def test_what_has_no_header_of_an_image_has_no_size(content: bytes, tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(content)

    with pytest.raises(ImageError, match=r"a\.jpg has no header of an image that can be read"):
        read_size(tmp_path / "a.jpg")


def test_a_missing_image_has_no_size(tmp_path: Path):
    with pytest.raises(ImageError, match=r"no image at .*a\.jpg; check the path"):
        read_size(tmp_path / "a.jpg")


def gray_steps(height: int, width: int) -> np.ndarray:
    """Every 8 pixels along both sides it gets brighter by 10."""
    rows, columns = np.mgrid[:height, :width] // 8
    return np.repeat((10 * (rows + columns))[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("largest_reduction", "reduction", "shape"),
    [
        (0.7, 1, (64, 96, 3)),
        (1.99, 1, (64, 96, 3)),
        (2, 2, (32, 48, 3)),
        (3.9, 2, (32, 48, 3)),
        (4, 4, (16, 24, 3)),
        (8, 8, (8, 12, 3)),
        (500, 8, (8, 12, 3)),
    ],
)
def test_a_jpeg_is_read_at_the_smallest_size_that_serves(
    largest_reduction: float, reduction: int, shape: tuple[int, ...], tmp_path: Path
):
    path = tmp_path / "steps.jpg"
    path.write_bytes(encode(gray_steps(64, 96), ".jpg"))

    image = read_reduced_image(path, largest_reduction)

    # Steps of 8 pixels are steps of 8 / reduction.
    assert image.reduction == reduction
    assert image.pixels.shape == shape
    np.testing.assert_allclose(image.pixels, gray_steps(64, 96)[::reduction, ::reduction], atol=2)


def test_the_last_reduced_pixel_reaches_beyond_an_image_of_odd_size(tmp_path: Path):
    path = tmp_path / "odd.jpg"
    path.write_bytes(encode(gray_steps(61, 93), ".jpg"))

    # 61 / 8 and 93 / 8 are 7.6 and 11.6.
    assert read_reduced_image(path, 8).pixels.shape == (8, 12, 3)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tiff"])
def test_other_formats_are_read_whole(suffix: str, tmp_path: Path):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(encode(four_quarters(), suffix))

    image = read_reduced_image(path, 8)

    assert image.reduction == 1
    np.testing.assert_array_equal(image.pixels, read_image(path))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_is_reduced_only_where_no_pixel_is_incomplete(orientation: int, tmp_path: Path):
    path = tmp_path / "turned.jpg"
    # 32 x 64 has complete pixels at any reduction, 30 x 64 at 1/2.
    path.write_bytes(with_exif(encode(four_quarters(), ".jpg"), orientation))
    whole = read_reduced_image(path, 8)
    path.write_bytes(with_exif(encode(four_quarters()[:30], ".jpg"), orientation))
    cut = read_reduced_image(path, 8)

    assert (whole.reduction, cut.reduction) == (8, 2)
    assert letters_of(whole.pixels) == letters_of(read_image(path)) == letters_of(cut.pixels)


def test_reading_reduced_refuses_what_reading_refuses(tmp_path: Path):
    path = tmp_path / "image.jpg"
    with pytest.raises(ImageError, match=r"no image at .*image\.jpg; check the path"):
        read_reduced_image(path, 8)

    jpeg = encode(noise(64, 64), ".jpg")
    path.write_bytes(jpeg)
    with pytest.raises(ImageError, match="has 64x64 pixels, above the limit of 4,095"):
        read_reduced_image(path, 8, max_pixels=4095)

    path.write_bytes(jpeg[: len(jpeg) // 2])
    with pytest.raises(ImageError, match="is cut short"):
        read_reduced_image(path, 8)


def exif(orientation: int) -> bytes:
    """A TIFF header, and a directory of one entry, tag 0x0112, a short."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 0)


def quarters_for_opencv(*, is_transparent: bool) -> np.ndarray:
    """The four quarters as BGR, or as BGRA, opaque."""
    bgr = four_quarters()[..., ::-1]
    return np.dstack([bgr, np.full((32, 64), 255, np.uint8)]) if is_transparent else bgr


def turned_png(orientation: int, *, is_transparent: bool = False, is_behind: bool = False) -> bytes:
    encoded = cv2.imencode(".png", quarters_for_opencv(is_transparent=is_transparent))[1].tobytes()
    place = encoded.index(b"IEND" if is_behind else b"IDAT") - 4
    return encoded[:place] + png_chunk(b"eXIf", exif(orientation)) + encoded[place:]


def turned_webp(orientation: int, *, is_transparent: bool = False) -> bytes:
    """The simple file that OpenCV writes, within the extended one that has room for EXIF."""
    image = quarters_for_opencv(is_transparent=is_transparent)
    encoded = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    sides = struct.pack("<I", 64 - 1)[:3] + struct.pack("<I", 32 - 1)[:3]
    chunks = b"VP8X" + struct.pack("<II", 10, 0x18 if is_transparent else 0x08) + sides
    chunks += encoded[encoded.index(b"VP8L") :]
    chunks += b"EXIF" + struct.pack("<I", len(exif(orientation))) + exif(orientation)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def tiff(image: np.ndarray, order: str = "<", **more: tuple[int, int]) -> bytes:
    """RGB or RGBA without compression: the directory, the depth of each channel, and the pixels in one strip.

    Args:
        image: uint8.
        order: of bytes.
        more: tags and their values, each a 32-bit number.
    """
    height, width, num_channels = image.shape
    values = {256: width, 257: height, 259: 1, 262: 2, 277: num_channels, 278: height, 279: image.size, 284: 1}
    values |= {338: 2} if num_channels == 4 else {}
    values |= dict(more.values())
    depths = 8 + 2 + 12 * (len(values) + 2) + 4
    values |= {258: depths, 273: depths + 2 * num_channels}
    counts = {258: (3, num_channels)}
    entries = [struct.pack(order + "HHII", tag, *counts.get(tag, (4, 1)), values[tag]) for tag in sorted(values)]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    channels = struct.pack(order + f"{num_channels}H", *[8] * num_channels)
    return head + b"".join(entries) + struct.pack(order + "I", 0) + channels + image.tobytes()


def turned_tiff(orientation: int, *, is_transparent: bool = False, order: str = "<") -> bytes:
    image = four_quarters()
    if is_transparent:
        image = np.dstack([image, np.full((32, 64), 255, np.uint8)])
    # A 16-bit number stands in the first half of its place.
    stored = struct.unpack(order + "I", struct.pack(order + "HH", orientation, 0))[0]
    encoded = tiff(image, order, orientation=(274, stored))
    as_long, as_short = (struct.pack(order + "HHI", 274, kind, 1) for kind in (4, 3))
    return encoded.replace(as_long, as_short)


TURNED: dict[str, Callable[[int], bytes]] = {
    "jpeg": lambda orientation: with_exif(encode(four_quarters(), ".jpg"), orientation),
    "png": turned_png,
    "png with transparency": partial(turned_png, is_transparent=True),
    "png, its exif behind the pixels": partial(turned_png, is_behind=True),
    "webp": turned_webp,
    "webp with transparency": partial(turned_webp, is_transparent=True),
    "tiff": turned_tiff,
    "tiff with transparency": partial(turned_tiff, is_transparent=True),
    "tiff, big-endian": partial(turned_tiff, order=">"),
}
UPRIGHT = {1: "RG/BW", 2: "GR/WB", 3: "WB/GR", 4: "BW/RG", 5: "RB/GW", 6: "BR/WG", 7: "WG/BR", 8: "GW/RB"}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", TURNED)
def test_header_and_decoder_agree_on_the_orientation_of_every_format(kind: str, orientation: int, tmp_path: Path):
    path = tmp_path / "turned"
    path.write_bytes(TURNED[kind](orientation))

    image = read_image(path)

    assert letters_of(image) == UPRIGHT[orientation]
    assert read_size(path) == image.shape[:2] == ((32, 64) if orientation <= 4 else (64, 32))


@pytest.mark.parametrize(
    ("turns", "axis", "orientation"),
    [
        (0, None, 1),
        (1, None, 8),  # turned a quarter counterclockwise to stand upright
        (2, None, 3),
        (3, None, 6),
        (0, 0, 4),  # top and bottom trade places
        (0, 1, 2),  # left and right trade places
        (1, 0, 5),
        (3, 1, 5),
    ],
)
@pytest.mark.parametrize("brand", [b"avif", b"heic"])
def test_avif_and_heic_are_turned_as_their_boxes_say(brand: bytes, turns: int, axis: int | None, orientation: int):
    boxes = b"\0\0\0\x14ftyp" + brand + b"\0\0\0\0mif1"
    boxes += b"\0\0\0\x14ispe" + struct.pack(">III", 0, 64, 32) + b"\0\0\0\x09irot" + bytes([turns])
    boxes += b"" if axis is None else b"\0\0\0\x09imir" + bytes([axis])

    header = read_header(io.BytesIO(boxes))

    assert header is not None
    assert (header.format, header.size, header.orientation) == (brand.decode(), (32, 64), orientation)
    assert header.upright_size == ((64, 32) if orientation >= 5 else (32, 64))


def test_a_header_behind_more_than_a_megabyte_of_other_segments_is_found(tmp_path: Path):
    jpeg = encode(noise(6, 10), ".jpg")
    segment = b"\xff\xe2" + struct.pack(">H", 65533) + bytes(65531)
    path = tmp_path / "phone.jpg"
    path.write_bytes(jpeg[:2] + 20 * segment + jpeg[2:])

    assert read_size(path) == read_image(path).shape[:2] == (6, 10)


def test_a_bitmap_of_os2_is_read(tmp_path: Path):
    # A header of 12 bytes: its own length, width, height, planes, bits a pixel. Rows from below, BGR, 4 x 3 = 12 bytes.
    image = noise(2, 4)
    rows = image[::-1, :, ::-1].tobytes()
    header = struct.pack("<IHHHH", 12, 4, 2, 1, 24)
    path = tmp_path / "a.bmp"
    path.write_bytes(b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + header + rows)

    assert read_size(path) == (2, 4)
    np.testing.assert_array_equal(read_image(path), image)


def test_a_transparent_image_takes_few_bytes_a_pixel():
    encoded = cv2.imencode(".webp", np.zeros((1500, 2000, 4), np.uint8))[1].tobytes()
    tracemalloc.start()

    decode_image(encoded, "small")
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # Four bytes as decoded, three on white, and a strip in floats.
    assert peak < 8 * 1500 * 2000


@pytest.mark.parametrize(
    ("suffix", "num_channels", "dtype", "stretch", "bytes_per_pixel"),
    [
        (".png", 4, np.uint16, False, 16),  # four channels of two bytes, and OpenCV's copy of them
        (".png", 3, np.uint16, True, 12),
        (".png", 3, np.uint16, False, 6),
        (".tiff", 3, np.uint8, False, 10),  # 3 as decoded, the one strip twice, 1 for what libtiff puts between
        (".tiff", 4, np.uint16, False, 25),
    ],
)
def test_the_memory_for_an_image_counts_its_copies_and_its_file(
    suffix: str, num_channels: int, dtype: type, stretch: bool, bytes_per_pixel: int, monkeypatch: pytest.MonkeyPatch
):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (16, 10, num_channels), dtype, endpoint=True)
    encoded = cv2.imencode(suffix, pixels)[1].tobytes()
    monkeypatch.setattr("mspn.io.images._SMALL_FILE_BYTES", 0)
    # 12 bytes for each pixel of the limit.
    enough = -(-(160 * bytes_per_pixel + len(encoded)) // 12)

    assert decode_image(encoded, "fits", enough, stretch=stretch).shape == (16, 10, 3)
    with pytest.raises(ImageError, match=r"large has 10x16 pixels, above the limit of 15[89];"):
        decode_image(encoded, "large", enough - 1, stretch=stretch)


@pytest.mark.parametrize(("num_channels", "bytes_per_pixel"), [(3, 10), (4, 13)])
def test_a_jpeg_is_counted_as_if_it_were_progressive(num_channels: int, bytes_per_pixel: int):
    encoded = cmyk_jpeg((9, 9, 9, 9)) if num_channels == 4 else encode(noise(8, 8), ".jpg")
    header = read_header(io.BytesIO(encoded))
    assert header is not None
    assert (header.num_channels, header.size) == (num_channels, (8, 8))

    # 63 pixels of 10 bytes are 630, and 52 of 12 are 624; 64 of 13 are 832, and 69 of 12 are 828.
    limit = {10: "large has 8x8 pixels, above the limit of 62;", 13: "large has 8x8 pixels, above the limit of 63;"}
    with pytest.raises(ImageError, match=limit[bytes_per_pixel]):
        decode_image(encoded, "large", {10: 62, 13: 69}[bytes_per_pixel])


def test_more_than_16_bits_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch):
    encoded = cv2.imencode(".tiff", np.zeros((8, 8, 3), np.float32))[1].tobytes()
    monkeypatch.setattr(cv2, "imdecode", None)  # is not asked

    with pytest.raises(ImageError, match="deep is not an image that can be read"):
        decode_image(encoded, "deep")


def test_a_small_image_in_huge_tiles_is_refused():
    encoded = tiff(noise(8, 8), width=(322, 2**14), height=(323, 2**14))

    with pytest.raises(ImageError, match="has a tile of 268,435,456 pixels; store it without tiles, or as PNG"):
        decode_image(encoded, "tiled")


def avif(declared: int, coded: int) -> bytes:
    """Boxes that declare an image of a side, and a sequence header of AV1 that says another.

    The header: profile 0, a still image, with the short header, level 0, then 16 bits for each side.
    """
    bits = "000" + "1" + "1" + "00000" + "1111" + "1111" + f"{coded - 1:016b}" * 2
    header = int(bits.ljust(56, "0"), 2).to_bytes(7, "big")
    units = b"\x12\x00" + b"\x0a\x07" + header  # a temporal delimiter, then the sequence header
    boxes = b"\0\0\0\x14ftypavif\0\0\0\0mif1" + b"\0\0\0\x14ispe" + struct.pack(">III", 0, declared, declared)
    # Version 0; four bytes for an offset, four for a length, none for a base; one item of one extent.
    location = b"iloc" + bytes(4) + b"\x44\x00" + struct.pack(">HHHHII", 1, 1, 0, 1, len(boxes) + 36, len(units))
    return boxes + struct.pack(">I", len(location) + 4) + location + b"\0\0\0\x13mdat"[:4] + units


@pytest.mark.parametrize(("coded", "pixels"), [(20_000, 400_000_000), (65_536, 4_294_967_296)])
def test_an_avif_that_declares_fewer_pixels_than_it_codes_is_refused(coded: int, pixels: int):
    with pytest.raises(ImageError, match=f"bomb has a tile of {pixels:,} pixels"):
        decode_image(avif(8, coded), "bomb")


def test_an_avif_of_millions_of_pieces_is_answered_at_once():
    # 65,535 items of 65,535 pieces each, all within the file.
    location = b"iloc" + bytes(4) + b"\0\0" + b"\xff\xff" + 4000 * b"\0\1\0\0\xff\xff"
    start = time.monotonic()

    read_header(io.BytesIO(avif(8, 8).replace(b"iloc", b"skip") + location))

    assert time.monotonic() - start < 2


def test_an_avif_whose_data_lies_beyond_the_end_of_the_file_is_refused():
    encoded = avif(8, 8)
    place = encoded.index(b"iloc") + 20
    encoded = encoded[:place] + b"\xff\xff\xff\xff" + encoded[place + 4 :]

    with pytest.raises(ImageError, match="bomb is not an image that can be read"):
        decode_image(encoded, "bomb")


def test_a_chunk_that_is_longer_than_its_file_is_not_made_room_for(monkeypatch: pytest.MonkeyPatch):
    encoded = bytearray(encode(noise(8, 8), ".png"))
    chunk = encoded.index(b"IDAT") - 4
    encoded[chunk : chunk + 4] = b"\x7f\xff\xff\xff"
    monkeypatch.setattr(cv2, "imdecode", None)  # is not asked

    with pytest.raises(ImageError, match="bomb is not an image that can be read, or it is damaged"):
        decode_image(bytes(encoded), "bomb")


def test_twelve_bits_stored_as_sixteen_are_told_and_stretched(caplog: pytest.LogCaptureFixture):
    # Of 4095: nothing, a third, all. The high bytes are 0, 5 and 15.
    encoded = cv2.imencode(".png", np.array([[0, 1365, 4095]], np.uint16))[1].tobytes()

    dark = decode_image(encoded, "scan.png")
    told = caplog.messages
    bright = decode_image(encoded, "scan.png", stretch=True)

    assert dark[0, :, 0].tolist() == [0, 5, 15]
    assert len(told) == len(caplog.messages) == 1
    assert "scan.png is nearly black: of its 16 bits at most 12 are used; --stretch" in told[0]
    assert bright[0, :, 0].tolist() == [0, 85, 255]


def test_stretching_keeps_colors_transparency_and_8_bits():
    # Blue, green, red, opacity; the largest of the colors is 4095.
    deep = np.array([[[0, 1365, 4095, 65535], [4095, 4095, 0, 0]]], np.uint16)

    stretched = decode_image(cv2.imencode(".png", deep)[1].tobytes(), "deep", stretch=True)

    np.testing.assert_array_equal(stretched, [[[255, 85, 0], WHITE]])
    np.testing.assert_array_equal(decode_image(encode(noise(3, 4), ".png"), "8 bits", stretch=True), noise(3, 4))


def test_sixteen_bits_that_are_used_are_not_told(caplog: pytest.LogCaptureFixture):
    # The high byte of 4096 is 16.
    decode_image(cv2.imencode(".png", np.array([[0, 4096]], np.uint16))[1].tobytes(), "a.png")

    assert caplog.messages == []


def test_heic_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    boxes = b"\0\0\0\x14ftypheic\0\0\0\0mif1" + b"\0\0\0\x14ispe" + struct.pack(">III", 0, 64, 32)

    with pytest.raises(ImageError, match=r"IMG\.heic is HEIC, .*; pip install pillow-heif, or convert it to JPEG"):
        decode_image(boxes, "IMG.heic")
