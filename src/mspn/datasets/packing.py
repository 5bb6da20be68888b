"""Packs people: cuts them out of their photos, as much around them as augmentation may show, into one ZIP file."""

import json
import zipfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mspn.config.recipe import Recipe
from mspn.datasets.augmentation import reach_of_frames, widest_width
from mspn.datasets.crop_dataset import read_crops
from mspn.datasets.packed import INDEX_FILE, LABELS_FILE, PackedSet, PackIndex, name_sets
from mspn.datasets.people import People
from mspn.errors import ImageError, InvalidValueError
from mspn.io.files import replacing
from mspn.io.image_headers import read_header
from mspn.io.images import ReducedImage
from mspn.labels.formats.coco import coco_content
from mspn.labels.label_set import IGNORED, LabeledImage, LabeledPerson, LabeledSet
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import CropFrame, transform_points
from mspn.structures.shapes import UInt8
from mspn.structures.skeleton import Skeleton

_MARGIN = 2.0
"""Around what augmentation may show, in stored pixels: bilinear sampling looks at the next one, too."""
_PHOTOS_PER_BATCH = 64
"""Photos that are handed to the threads together, so that memory and the wait after Ctrl-C stay bounded."""
_DIGITS = 3
"""Of stored coordinates."""
_SIZE_UNSURE = ("avif", "heic")
"""Formats whose header may tell the size of a part."""


class CropQuality(NamedTuple):
    """How large and how well crops are stored."""

    resolution: float
    """Stored pixels for each pixel of the widest crop that augmentation draws; nothing is stored larger than it is."""
    webp: int
    """Quality of WebP, 1 to 100."""


QUALITIES = (
    *(CropQuality(2.0, webp) for webp in (90, 80)),
    *(CropQuality(1.5, webp) for webp in (80, 60)),
    CropQuality(1.25, 50),
    *(CropQuality(1.0, webp) for webp in (50, 40, 30)),
    *(CropQuality(resolution, 30) for resolution in (0.9, 0.8, 0.7, 0.6, 0.5)),
)
"""From the best to the smallest. Of files of equal size, training crops came closest to those of the photos where the
resolution stays at 1 and WebP's quality falls; see docs/training.md."""
_SAMPLE = 250
"""So many people tell how large a file becomes."""
_SAMPLE_ERROR = 1.04
_BYTES_OF_LABELS = 300
"""Of a person, with the entries in the ZIP file."""


@dataclass(frozen=True, eq=False)
class PackedCrop:
    """A person's crop as it is stored."""

    person: int
    """Index in the set."""
    frame: CropFrame
    """Where it lies in the photo."""
    encoded: bytes


class PackReport(NamedTuple):
    """What was packed."""

    num_people: int
    quality: CropQuality
    problems: list[str]
    """Photos that could not be read; their people are left out."""


def pack_people(
    path: Path,
    recipe: Recipe,
    sets: Sequence[People],
    max_bytes: float,
    num_workers: int,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> PackReport:
    """Write all people of a recipe's sets into one file.

    Args:
        path: of the file; it appears when all is done.
        recipe: its augmentation and the size of its crops say how much is cut out, and how large it is stored.
        sets: as `read_training_sets` reads them.
        max_bytes: of the file; crops are stored as well as fits, by what a sample of the people takes.
        num_workers: threads that read and cut photos.
        report: called with how many people are done, and of how many.

    Raises:
        InvalidValueError: if the people do not fit into max_bytes.
        FileError: if there is no room for the file.
    """
    quality = _choose_quality(recipe, sets, max_bytes, num_workers)
    names = name_sets(recipe.data.train)
    total, done = sum(map(len, sets)), 0
    problems: list[str] = []
    num_packed = 0
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        index = PackIndex(
            sets=tuple(
                PackedSet(name=name, weight=config.weight)
                for name, config in zip(names, recipe.data.train, strict=True)
            ),
            input_size=recipe.model.input_size,
            augmentation=recipe.augmentation,
        )
        _store(archive, INDEX_FILE, index.model_dump_json(indent=1).encode(), zipfile.ZIP_DEFLATED)
        for name, people in zip(names, sets, strict=True):
            crops: dict[int, PackedCrop] = {}
            for photo, found in _cut_photos(people, recipe, quality, num_workers):
                if isinstance(found, str):
                    problems.append(found)
                for crop in [] if isinstance(found, str) else found:
                    _store(archive, f"{name}/{_file_name(crop.person)}", crop.encoded, zipfile.ZIP_STORED)
                    crops[crop.person] = crop
                done += int((people.image_index == photo).sum())
                report(done, total)
            labels = _describe(people, [crops[person] for person in sorted(crops)], recipe.keypoint_table)
            content = json.dumps(coco_content(labels, path)).encode()
            _store(archive, f"{name}/{LABELS_FILE}", content, zipfile.ZIP_DEFLATED)
            num_packed += len(crops)
    return PackReport(num_packed, quality, problems)


def _choose_quality(recipe: Recipe, sets: Sequence[People], max_bytes: float, num_workers: int) -> CropQuality:
    """The best quality with which the file is as small as asked."""
    total = sum(map(len, sets))
    share = min(1.0, _SAMPLE / total)
    samples = [
        people.take(np.linspace(0, len(people) - 1, max(1, round(share * len(people)))).astype(int)) for people in sets
    ]

    def fits(quality: CropQuality) -> bool:
        size = 0.0
        for people, sample in zip(sets, samples, strict=True):
            found = [
                crops for _, crops in _cut_photos(sample, recipe, quality, num_workers) if not isinstance(crops, str)
            ]
            sizes = [len(crop.encoded) for crops in found for crop in crops]
            size += len(people) * sum(sizes) / max(1, len(sizes))
        return size * _SAMPLE_ERROR + total * _BYTES_OF_LABELS <= max_bytes

    index = bisect_left(range(len(QUALITIES)), True, key=lambda index: fits(QUALITIES[index]))
    if index == len(QUALITIES):
        raise InvalidValueError(
            f"{total} people do not fit into {max_bytes / 1e6:g} MB at the lowest quality; allow more, or pack fewer"
        )
    return QUALITIES[index]


def frame_to_store(people: People, person: int, image: Size, recipe: Recipe, resolution: float) -> CropFrame:
    """What is stored of a person: all that augmentation may show of the photo, never larger than it is there.

    Args:
        people: of a set.
        person: index of one.
        image: size of the photo.
        recipe: with the augmentation and the size of its crops.
        resolution: see `CropQuality`.
    """
    box, keypoints = Box(*people.boxes[person].tolist()), people.keypoints_image[person]
    size, config = recipe.model.input_size, recipe.augmentation
    scale = min(1.0, resolution * size.width / widest_width(box, config.base_padding, size, config))
    reach = reach_of_frames(box, keypoints, size, config, recipe.keypoint_table)
    margin = _MARGIN / scale
    left, width = _cut_off(reach.left - margin, reach.left + reach.width + margin, image.width)
    top, height = _cut_off(reach.top - margin, reach.top + reach.height + margin, image.height)
    stored = Size(max(1, round(height * scale)), max(1, round(width * scale)))
    # The middle of the first stored pixel is where the corner of the region says, so that a scale of 1 copies pixels.
    middle_x, middle_y = ((side / 2 + 0.5) / scale - 0.5 for side in (stored.width, stored.height))
    return CropFrame((left + middle_x, top + middle_y), stored.width / scale, stored)


def _cut_off(start: float, end: float, side: int) -> tuple[int, int]:
    """First pixel and number of pixels of a range within an image; at least one, also where the range is outside."""
    first = min(max(0, int(np.floor(start))), side - 1)
    last = max(first + 1, min(side, int(np.ceil(end))))
    return first, last - first


def _cut_photos(
    people: People, recipe: Recipe, quality: CropQuality, num_workers: int
) -> Iterator[tuple[int, list[PackedCrop] | str]]:
    """Crops of the people of each photo, or why it cannot be read."""
    order = np.argsort(people.image_index, kind="stable")
    photos, starts = np.unique(people.image_index[order], return_index=True)
    groups = list(zip(photos.tolist(), np.split(order, starts[1:]), strict=True))

    def cut(group: tuple[int, np.ndarray]) -> tuple[int, list[PackedCrop] | str]:
        photo, persons = group
        try:
            return photo, _cut_photo(people, photo, persons.tolist(), recipe, quality)
        except (ImageError, OSError) as error:
            return photo, str(error)

    with ThreadPoolExecutor(num_workers) as workers:
        for start in range(0, len(groups), _PHOTOS_PER_BATCH):
            yield from workers.map(cut, groups[start : start + _PHOTOS_PER_BATCH])


def _cut_photo(
    people: People, photo: int, persons: Sequence[int], recipe: Recipe, quality: CropQuality
) -> list[PackedCrop]:
    read = partial(people.images.read, photo)
    size = _size_of(people.images[photo], read)
    frames = [frame_to_store(people, person, size, recipe, quality.resolution) for person in persons]
    pixels = read_crops(read, frames)
    return [
        PackedCrop(person, frame, _encode(crop, quality.webp))
        for person, frame, crop in zip(persons, frames, pixels, strict=True)
    ]


def _size_of(photo: Path, read: Callable[[int], ReducedImage]) -> Size:
    header = None
    if photo.is_file():
        with photo.open("rb") as file:
            header = read_header(file)
    if header is None or header.format in _SIZE_UNSURE:
        return Size(*read(1).pixels.shape[:2])
    return header.upright_size


def _encode(pixels: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    flags = [cv2.IMWRITE_WEBP_QUALITY, quality]
    done, encoded = cv2.imencode(".webp", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), flags)
    assert done, pixels.shape
    return encoded.tobytes()


def _describe(people: People, crops: Sequence[PackedCrop], skeleton: Skeleton) -> LabeledSet:
    """COCO labels of the crops, in their pixels; what has been settled for the set is in them."""
    images, labeled = [], []
    for crop in crops:
        frame, person = crop.frame, crop.person
        keypoints = people.keypoints_image[person].astype(np.float64)
        keypoints[:, :2] = transform_points(keypoints[:, :2], frame.image_to_crop)
        keypoints[keypoints[:, 2] == 0] = 0
        left, top, width, height = people.boxes[person].tolist()
        scale = frame.size.width / frame.width_image
        (corner,) = transform_points(np.array([[left, top]]), frame.image_to_crop).tolist()
        ignored = [name for name, counts in zip(skeleton.keypoints, people.counted[person], strict=True) if not counts]
        images.append(LabeledImage(person + 1, _file_name(person), frame.size, _origin(people, crop)))
        labeled.append(
            LabeledPerson(
                id=int(people.annotation_ids[person]),
                image_id=person + 1,
                keypoints_image=keypoints.round(_DIGITS),
                box=Box(*(round(value, _DIGITS) for value in (*corner, width * scale, height * scale))),
                extra={IGNORED: ignored} if ignored else {},
            )
        )
    return LabeledSet(skeleton, images, labeled, category=people.category)


def _origin(people: People, crop: PackedCrop) -> dict[str, object]:
    """Where a crop was cut out, for people: the photo, the corner there, and stored pixels for each of its pixels."""
    frame = crop.frame
    (corner,) = transform_points(np.zeros((1, 2)), frame.crop_to_image).round(_DIGITS).tolist()
    return {
        "photo": people.images[int(people.image_index[crop.person])].name,
        "photo_corner": corner,
        "photo_scale": round(frame.size.width / frame.width_image, 6),
    }


def _file_name(person: int) -> str:
    return f"{person + 1}.webp"


def _store(archive: zipfile.ZipFile, name: str, content: bytes, compression: int) -> None:
    # Always the same date: the same people are the same bytes.
    archive.writestr(zipfile.ZipInfo(name), content, compression)
