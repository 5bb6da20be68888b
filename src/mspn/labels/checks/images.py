"""Rules about image files: whether they are there, whole, and as large as the labels say."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mspn.errors import ImageError
from mspn.io.image_headers import TRANSPOSED_ORIENTATIONS, read_header
from mspn.io.images import read_reduced_image
from mspn.labels.checks.findings import Finding
from mspn.labels.label_set import LabeledImage
from mspn.structures.boxes import Size

IMAGE_KINDS = ("missing_image", "unreadable_image", "damaged_image", "wrong_size", "rotated_image", "same_image")
"""Kinds of findings that only the images' files show."""
_IMAGES_PER_BATCH = 256
"""Images that are handed to the workers together, so that an interruption is answered soon."""


@dataclass(frozen=True)
class ImageFile:
    """What was found where an image should be."""

    image: LabeledImage
    size: Size | None = None
    """Of the upright image; None where it cannot be read."""
    orientation: int = 1
    """As EXIF counts; 1 is upright."""
    digest: bytes = b""
    """Of the file's bytes."""
    problem: Finding | None = None
    """Why it cannot be read, or not all of it."""


def scan_images(images: Sequence[LabeledImage], folder: Path, num_workers: int) -> Iterator[ImageFile]:
    """Decode every image once, in order; threads, since decoding and hashing run outside Python's lock."""
    with ThreadPoolExecutor(num_workers) as workers:
        for start in range(0, len(images), _IMAGES_PER_BATCH):
            yield from workers.map(lambda image: _scan(image, folder), images[start : start + _IMAGES_PER_BATCH])


def check_images(files: Sequence[ImageFile]) -> Iterator[Finding]:
    """Files that are missing, damaged, of another size than labeled, turned by their EXIF, or alike to the byte."""
    first_with: dict[bytes, LabeledImage] = {}
    for file in files:
        image = file.image
        if file.problem is not None:
            yield file.problem
        if file.size is None:
            continue
        if image.size is not None and image.size != file.size:
            yield Finding("wrong_size", _compare_sizes(file.size, image.size, file), image.file_name, image.id)
        elif file.orientation != 1:
            message = f"stored turned (EXIF orientation {file.orientation}); programs that ignore it see another image"
            yield Finding("rotated_image", message, image.file_name, image.id)
        first = first_with.setdefault(file.digest, image)
        if first.file_name != image.file_name:
            yield Finding("same_image", f"the same bytes as {first.file_name}", image.file_name, image.id)


def _compare_sizes(size: Size, labeled: Size, file: ImageFile) -> str:
    message = f"the image has {size.width}x{size.height} pixels, the labels say {labeled.width}x{labeled.height}"
    if file.orientation in TRANSPOSED_ORIENTATIONS and labeled == (size.width, size.height):
        message += f"; it was labeled as it is stored, not upright (EXIF orientation {file.orientation})"
    return message


def _scan(image: LabeledImage, folder: Path) -> ImageFile:
    path = folder / image.file_name
    if not path.is_file():
        message = f"no image at {path}; is --images the folder that holds it?"
        return ImageFile(image, problem=Finding("missing_image", message, image.file_name, image.id))
    try:
        read = read_reduced_image(path, 1)
        encoded = path.read_bytes()
    except (ImageError, OSError) as error:
        return ImageFile(image, problem=Finding("unreadable_image", str(error), image.file_name, image.id))
    header = read_header(io.BytesIO(encoded))
    orientation = header.orientation if header else 1  # None if the file changes this moment
    message = f"damaged ({read.damage}): a part of its pixels may be wrong"
    problem = Finding("damaged_image", message, image.file_name, image.id) if read.damage else None
    size = Size(*read.pixels.shape[:2])
    return ImageFile(image, size, orientation, hashlib.sha256(encoded).digest(), problem)
