"""COCO keypoint JSON, read and written without loss, and CrowdPose's: 14 other keypoints, and `crowdIndex` by image."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel

from mspn.errors import AnnotationError
from mspn.io.files import write_text
from mspn.labels.conversion_report import to_skeleton
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet, area_of, box_around
from mspn.labels.reading import (
    check_form,
    check_keypoint_names,
    check_label_table,
    plain_number,
    read_json,
    skeleton_of,
)
from mspn.structures.boxes import Box, Size
from mspn.structures.skeleton import Skeleton, convert_keypoints
from mspn.structures.skeletons import COCO_17, CROWDPOSE_14


class CocoImage(BaseModel):
    """What we need of an image's entry."""

    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


class CocoAnnotation(BaseModel):
    """What we need of a person's entry."""

    id: int
    image_id: int
    category_id: int | None = None
    bbox: tuple[float, float, float, float]
    keypoints: list[float] | None = None
    num_keypoints: int | None = None
    area: float | None = None
    iscrowd: int = 0


class CocoCategory(BaseModel):
    """What we need of a category's entry."""

    id: int
    keypoints: tuple[str, ...] = ()


class _CocoFile(BaseModel):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


class _Content(NamedTuple):
    raw: dict[str, Any]
    images: list[CocoImage]
    category: CocoCategory
    people: list[int]
    """Positions of the people among the annotations."""
    annotations: list[CocoAnnotation]
    """One for each of N people."""
    keypoints_image: Float[np.ndarray, "N Ks 3"]
    """In the order of `names`."""
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CocoPeople:
    """The people of a COCO keypoint file, crowds too, as evaluation wants them."""

    images: list[CocoImage]
    category_id: int
    annotations: list[CocoAnnotation]
    """One for each of N people; boxes and keypoints are as the file has them."""
    keypoints_image: Float[np.ndarray, "N K 3"]
    """(x, y, visibility) in the order of the skeleton that was asked for."""
    named: Bool[np.ndarray, " K"]
    """False for keypoints that the file's category does not have."""


def read_coco_people(path: Path, skeleton: Skeleton) -> CocoPeople:
    """Read and check a COCO keypoint file; the category's keypoint names, if it has any, decide the order.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong, or if nobody has keypoints, or none of the
            skeleton's.
    """
    content = _read_content(path, skeleton)
    known = {image.id for image in content.images}
    check_label_table(path, known, [row.image_id for row in content.annotations], content.keypoints_image)
    check_keypoint_names(path, content.names, skeleton)
    source = skeleton_of(path, content.names)
    return CocoPeople(
        images=content.images,
        category_id=content.category.id,
        annotations=content.annotations,
        keypoints_image=convert_keypoints(content.keypoints_image, source, skeleton),
        named=np.array([name in content.names for name in skeleton.keypoints]),
    )


def read_coco(path: Path, skeleton: Skeleton | None = None) -> LabeledSet:
    """Read a COCO keypoint file with everything that it says, people of unknown images and lost keypoints too.

    Args:
        path: the file.
        skeleton: what the keypoints are if the file's category does not name them; COCO's if that is None too. Its
            table also completes a category that names just its keypoints.

    Raises:
        AnnotationError: naming the first entry that is missing or has another form, or if nobody has keypoints.
    """
    content = _read_content(path, skeleton or COCO_17)
    rows = content.raw["annotations"]
    category = next(row for row in content.raw["categories"] if row["id"] == content.category.id)
    chosen = set(content.people)
    counts = (content.keypoints_image[..., 2] > 0).sum(1).tolist()
    others = [row for position, row in enumerate(rows) if position not in chosen]
    return LabeledSet(
        skeleton=skeleton_of(path, content.names, known=skeleton, limbs=_limbs(category, content.names)),
        category=str(category.get("name") or ""),
        images=[
            LabeledImage(image.id, image.file_name, _size(image), _others(row, CocoImage.model_fields))
            for image, row in zip(content.images, content.raw["images"], strict=True)
        ],
        people=[
            LabeledPerson(
                id=row.id,
                image_id=row.image_id,
                keypoints_image=keypoints,
                box=Box(*row.bbox),
                area=row.area,
                is_crowd=bool(row.iscrowd),
                extra=_others(rows[position], _PERSON_FIELDS) | _own_count(row, num_labeled),
            )
            for row, keypoints, num_labeled, position in zip(
                content.annotations, content.keypoints_image, counts, content.people, strict=True
            )
        ],
        extra=_others(content.raw, ("images", "annotations")) | ({"other_annotations": others} if others else {}),
    )


def write_coco(labels: LabeledSet, path: Path) -> None:
    """Write a COCO keypoint file; what other formats say beyond COCO's fields becomes fields of the same names.

    Whoever has no box gets the one around their keypoints, and whoever has no area that of `area_of`: COCO's similarity
    needs one.
    """
    extra = dict(labels.extra)
    others = extra.pop("other_annotations", [])
    categories = extra.pop("categories", [])
    names = list(labels.skeleton.keypoints)
    category = next((row for row in categories if row.get("keypoints") == names), None)
    if category is None:
        category = _category(labels.skeleton)
        categories = [category]
    content = {
        **extra,
        "images": [
            {"id": image.id, "file_name": image.file_name, **_size_fields(image), **image.extra}
            for image in labels.images
        ],
        "annotations": [*(_annotation(person, category["id"]) for person in labels.people), *others],
        "categories": categories,
    }
    write_text(path, json.dumps(content) + "\n")


_PERSON_FIELDS = ("id", "image_id", "category_id", "bbox", "keypoints", "num_keypoints", "area", "iscrowd")


def _annotation(person: LabeledPerson, category_id: int) -> dict[str, Any]:
    box = person.box or box_around(person.keypoints_image) or Box(0, 0, 0, 0)
    return {
        "id": person.id,
        "image_id": person.image_id,
        "category_id": category_id,
        "bbox": [plain_number(value) for value in box],
        "area": plain_number(area_of(person)),
        "iscrowd": int(person.is_crowd),
        "keypoints": [plain_number(value) for value in person.keypoints_image.ravel().tolist()],
        "num_keypoints": int((person.keypoints_image[:, 2] > 0).sum()),
        **person.extra,
    }


def _category(skeleton: Skeleton) -> dict[str, Any]:
    return {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(skeleton.keypoints),
        "skeleton": [[start + 1, end + 1] for start, end in skeleton.limb_indices],
    }


def _limbs(category: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of numbers, from 1 on, that a category lists as its skeleton."""
    numbers = range(1, len(names) + 1)
    pairs = category.get("skeleton") or ()
    return [(names[start - 1], names[end - 1]) for start, end in pairs if start in numbers and end in numbers]


def _size(image: CocoImage) -> Size | None:
    return None if image.height is None or image.width is None else Size(image.height, image.width)


def _size_fields(image: LabeledImage) -> dict[str, int]:
    return {} if image.size is None else {"width": image.size.width, "height": image.size.height}


def _own_count(row: CocoAnnotation, num_labeled: int) -> dict[str, int]:
    """The file's number of labeled keypoints where it is not what counting gives."""
    return {} if row.num_keypoints in (None, num_labeled) else {"num_keypoints": row.num_keypoints}


def _others(row: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The fields that we have no name for."""
    return {key: value for key, value in row.items() if key not in known}


def _read_content(path: Path, unnamed: Skeleton) -> _Content:
    """Parse and check a file; `unnamed` is the skeleton of a category without names."""
    raw = read_json(path)
    file = check_form(path, raw, _CocoFile, "a COCO keypoint file (`mspn data convert` writes one)")
    if not file.categories:
        raise AnnotationError(f"{path} has no category; it must be a COCO keypoint file")
    category = next((category for category in file.categories if category.keypoints), file.categories[0])
    chosen = [
        position
        for position, row in enumerate(file.annotations)
        if row.category_id in (None, category.id) and row.keypoints is not None
    ]
    if not chosen:
        raise AnnotationError(f"{path} has no annotation with keypoints; a keypoint file is needed, not boxes only")
    people = [file.annotations[position] for position in chosen]
    names = category.keypoints or unnamed.keypoints
    for row in people:
        if len(row.keypoints or ()) != 3 * len(names):
            raise AnnotationError(
                f"{path}: annotation {row.id} has {len(row.keypoints or ())} keypoint numbers, not 3 x {len(names)}"
            )
    keypoints = np.array([row.keypoints for row in people], np.float64).reshape(len(people), len(names), 3)
    return _Content(raw, file.images, category, chosen, people, keypoints, names)


_CROWDPOSE_FILE_NAMES = {"head_top": "head"}
_CROWDPOSE_FILE_SKELETON = Skeleton(
    name="crowdpose-file",
    keypoints=tuple(_CROWDPOSE_FILE_NAMES.get(name, name) for name in CROWDPOSE_14.keypoints),
    limbs=tuple((_CROWDPOSE_FILE_NAMES.get(start, start), end) for start, end in CROWDPOSE_14.limbs),
)
"""Keypoints as CrowdPose's files name them: "head" is our head_top."""


def read_crowdpose(path: Path, skeleton: Skeleton | None = None) -> LabeledSet:
    """Read a CrowdPose file.

    Raises:
        AnnotationError: as `read_coco`.
    """
    labels = read_coco(path, skeleton or CROWDPOSE_14)
    return (
        replace(labels, skeleton=CROWDPOSE_14)
        if labels.skeleton.keypoints == _CROWDPOSE_FILE_SKELETON.keypoints
        else labels
    )


def write_crowdpose(labels: LabeledSet, path: Path) -> None:
    """Write a CrowdPose file; see `write_coco`."""
    write_coco(replace(to_skeleton(labels, CROWDPOSE_14, path), skeleton=_CROWDPOSE_FILE_SKELETON), path)
