"""Checks of a labeled set: mistakes in labels and images.

Of image files: whether they are there, whole, and as large as the labels say.
"""

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mspn.errors import ImageError
from mspn.io.image_headers import TRANSPOSED_ORIENTATIONS, read_header
from mspn.io.images import read_reduced_image
from mspn.labels.check_rules import check_bodies, check_boxes, check_keypoints, check_repeats, measure_facing
from mspn.labels.label_set import LabeledImage, LabeledSet
from mspn.labels.label_table import Finding, LabelTable, make_table
from mspn.labels.units import suspect_units
from mspn.structures.boxes import Size
from mspn.structures.skeleton import SKELETONS, match_keypoints

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


def check_entries(table: LabelTable) -> Iterator[Finding]:
    """Ids and file names of images and people."""
    labels = table.labels
    by_id, by_name = defaultdict(list), defaultdict(list)
    for image in labels.images:
        by_id[image.id].append(image)
        by_name[image.file_name].append(image)
    for number, images in by_id.items():
        if len(images) > 1:
            names = ", ".join(image.file_name for image in images)
            yield Finding("duplicate_image_id", f"id {number} is of {names}", images[0].file_name, number)
    for name, images in by_name.items():
        if len(images) > 1:
            numbers = ", ".join(str(image.id) for image in images)
            yield Finding("same_file", f"images {numbers} name this one file", name, images[0].id)
    unknown = np.array([person.image_id not in by_id for person in labels.people], bool)
    yield from table.find(
        "unknown_image", unknown, lambda index: f"its image {labels.people[index].image_id} is not in the labels"
    )
    image_ids = defaultdict(list)
    for person in labels.people:
        image_ids[person.id].append(person.image_id)
    _, first = np.unique([person.id for person in labels.people], return_index=True)
    is_first = np.isin(np.arange(len(labels.people)), first)
    is_repeated = np.array([len(image_ids[person.id]) > 1 for person in labels.people], bool)
    yield from table.find(
        "duplicate_person_id",
        is_first & is_repeated,
        lambda index: f"people in images {', '.join(map(str, image_ids[labels.people[index].id]))} have this id",
    )


_MIN_SHARE_FACING = 0.4
"""In sets of people seen from all sides, about 7 of 10 face the camera."""
_MIN_FACING = 20


def check_whole_set(table: LabelTable) -> Iterator[Finding]:
    """Units, scale, the form of boxes, and the side that people turn to the camera."""
    yield from _check_units(table)
    yield from _check_facing(table)
    yield from _check_names(table)


def _check_names(table: LabelTable) -> Iterator[Finding]:
    """Names that are nearly those of a built-in skeleton: other spellings, and keypoints that it does not have."""
    names = table.labels.skeleton.keypoints
    matches = {known: match_keypoints(names, known.keypoints) for known in SKELETONS.values()}
    # Of several with as many names in common, the smallest, which has the fewest that are missing.
    known, matched = max(matches.items(), key=lambda match: (len(match[1]), -len(match[0].keypoints)))
    if known.keypoints == names or 2 * len(matched) < min(len(names), len(known.keypoints)):
        return
    spelled = ", ".join(f"{name!r} for {known_name}" for known_name, name in matched.items() if known_name != name)
    unknown = ", ".join(name for name in names if name not in matched.values())
    parts = [f"{what}: {listed}" for what, listed in (("spelled", spelled), ("unknown", unknown)) if listed]
    if parts:
        yield Finding("keypoint_names", f"compared with {known.name}, {'; '.join(parts)}")


def _check_units(table: LabelTable) -> Iterator[Finding]:
    for suspect in suspect_units(boxes=table.boxes, points=table.points, sizes=table.sizes):
        yield Finding(suspect.kind, suspect.message)


def _check_facing(table: LabelTable) -> Iterator[Finding]:
    facing = measure_facing(table, "shoulder")
    facing = facing[np.isfinite(facing)]
    share = float((facing > 0).mean()) if len(facing) else 1.0
    if len(facing) >= _MIN_FACING and share < _MIN_SHARE_FACING:
        message = f"by their shoulders, {share:.0%} of {len(facing)} people face the camera; usually about 70 % do"
        yield Finding("mirrored_set", message)


_RULES = (check_whole_set, check_entries, check_boxes, check_keypoints, check_repeats, check_bodies)


def check_labels(labels: LabeledSet, files: Sequence[ImageFile] = ()) -> list[Finding]:
    """Find mistakes in labels, and labels that look wrong; the kinds are `mspn.labels.label_table.KINDS`.

    Args:
        labels: as they were read.
        files: what `scan_images` found of the images; without them only the labels are
            checked, and image sizes are those in the labels.
    """
    sizes = {file.image.id: file.size for file in files if file.size is not None}
    # Rules divide by sizes of people that may be 0 or NaN; a NaN is not greater than any threshold.
    with np.errstate(all="ignore"):
        table = make_table(labels, sizes)
        return [*check_images(files), *(finding for rule in _RULES for finding in rule(table))]
