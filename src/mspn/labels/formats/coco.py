"""COCO keypoint JSON, read and written without loss, and CrowdPose's: 14 other keypoints, and `crowdIndex` by image."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, BeforeValidator

from mspn.errors import AnnotationError
from mspn.io.files import write_text
from mspn.labels.label_set import (
    LabeledImage,
    LabeledPerson,
    LabeledSet,
    area_of,
    box_around,
    category_of_set,
    to_skeleton,
    warn_dropped,
)
from mspn.labels.reading import (
    FileName,
    Flag,
    Id,
    Text,
    check_form,
    check_keypoint_names,
    check_label_table,
    field_of,
    image_size,
    plain_number,
    read_json,
    skeleton_of,
)
from mspn.labels.units import suspect_units, warn_of_units
from mspn.structures.boxes import Box
from mspn.structures.shapes import Bool, Float
from mspn.structures.skeleton import COCO_17, CROWDPOSE_14, Skeleton, convert_keypoints

logger = logging.getLogger(__name__)

NO_BOX = (0.0, 0.0, 0.0, 0.0)
"""Of a person without a box."""


class CocoImage(BaseModel):
    """What is read of an image's entry."""

    id: Id
    file_name: FileName
    width: int | None = None
    height: int | None = None


class CocoAnnotation(BaseModel):
    """What is read of a person's entry."""

    id: Id
    image_id: Id
    category_id: Id | None = None
    bbox: Annotated[tuple[float, float, float, float], BeforeValidator(lambda box: box or NO_BOX)] = NO_BOX
    """All 0 where there is none."""
    keypoints: list[float] | None = None
    num_keypoints: int | None = None
    area: float | None = None
    iscrowd: Flag = 0


class CocoCategory(BaseModel):
    """What is read of a category's entry."""

    id: Id
    name: Text | None = None
    keypoints: Annotated[tuple[Text, ...], BeforeValidator(lambda names: names or ())] = ()
    skeleton: list[tuple[int, int]] | None = None
    """Numbers of the keypoints that a line joins, from 1 on."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or str(self.id)


class _CocoFile(BaseModel):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


class CocoContent(NamedTuple):
    """What is read of a file."""

    raw: dict[str, Any]
    images: list[CocoImage]
    categories: list[CocoCategory]
    """Those that are read; all have the same keypoints."""
    people: list[int]
    """Positions of the people among the annotations."""
    annotations: list[CocoAnnotation]
    """One for each of N people."""
    keypoints_image: Float[np.ndarray, "N Ks 3"]
    """In the order of `names`."""
    names: tuple[str, ...]


def parse_content(path: Path, raw: Any, unnamed: Skeleton, category: str | None) -> CocoContent:
    """Check the parsed JSON of a file; `unnamed` is the skeleton of a category without names."""
    file = check_form(path, raw, _CocoFile, "a COCO keypoint file (`mspn data convert` writes one)")
    if not file.categories:
        raise AnnotationError(f"{path} has no category; it must be a COCO keypoint file")
    categories = _choose_categories(path, file, category)
    ids = {None, *(chosen.id for chosen in categories)}
    chosen = [position for position, row in enumerate(file.annotations) if row.category_id in ids and row.keypoints]
    left_out = Counter(row.category_id for row in file.annotations if row.category_id not in ids and row.keypoints)
    if left_out:
        names_by_id = {other.id: other.label for other in file.categories}
        listed = ", ".join(f"{count} of {names_by_id.get(number or 0, number)}" for number, count in left_out.items())
        logger.warning(
            "%s: read are annotations of %s, not %s; --category chooses",
            path,
            ", ".join(read.label for read in categories),
            listed,
        )
    if not chosen:
        raise AnnotationError(f"{path} has no annotation with keypoints; a keypoint file is needed, not boxes only")
    people = [file.annotations[position] for position in chosen]
    names = categories[0].keypoints or unnamed.keypoints
    for row in people:
        if len(row.keypoints or ()) != 3 * len(names):
            raise AnnotationError(
                f"{path}: annotation {row.id} has {len(row.keypoints or ())} keypoint numbers, not 3 x {len(names)}"
            )
    keypoints = np.array([row.keypoints for row in people], np.float64).reshape(len(people), len(names), 3)
    return CocoContent(raw, file.images, categories, chosen, people, keypoints, names)


def _choose_categories(path: Path, file: _CocoFile, wanted: str | None) -> list[CocoCategory]:
    """Categories with the same keypoints: those called `wanted`, else the first that has keypoints, and its like."""
    if wanted is not None:
        named = [row for row in file.categories if wanted.casefold() in (row.label.casefold(), str(row.id))]
        if not named:
            there = ", ".join(row.label for row in file.categories)
            raise AnnotationError(f"{path} has no category {wanted!r}; it has {there}")
        return [row for row in named if row.keypoints == named[0].keypoints]
    first = next((row for row in file.categories if row.keypoints), file.categories[0])
    return [row for row in file.categories if row == first or (row.keypoints and row.keypoints == first.keypoints)]


@dataclass(frozen=True, eq=False)
class CocoPeople:
    """The people of a COCO keypoint file, crowds too, as evaluation wants them."""

    images: list[CocoImage]
    category_id: int
    """The first of those that are read; results are written with it."""
    annotations: list[CocoAnnotation]
    """One for each of N people; keypoints are as the file has them, as are boxes and areas where it has any."""
    keypoints_image: Float[np.ndarray, "N K 3"]
    """(x, y, visibility) in the order of the skeleton that was asked for."""
    named: Bool[np.ndarray, " K"]
    """False for keypoints that the file's category does not have."""
    category_ids: frozenset[int] = frozenset()
    """All that are read."""

    def keypoint_names(self, skeleton: Skeleton) -> tuple[str, ...]:
        """The skeleton's keypoints that the file has."""
        return tuple(name for name, is_named in zip(skeleton.keypoints, self.named, strict=True) if is_named)


def read_coco_people(path: Path, skeleton: Skeleton, category: str | None = None) -> CocoPeople:
    """Read and check a COCO keypoint file; the category's keypoint names, if it has any, decide the order.

    Whoever has no box gets the one around their keypoints, and whoever has no area above 0 that of `area_of`.

    Args:
        path: the file.
        skeleton: of the result.
        category: as in `read_coco`.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong, or if nobody has keypoints, or none of the
            skeleton's.
    """
    content = parse_content(path, read_json(path), skeleton, category)
    known = {image.id for image in content.images}
    check_label_table(path, known, [row.image_id for row in content.annotations], content.keypoints_image)
    source = skeleton_of(path, content.names)
    named = check_keypoint_names(path, source, skeleton)
    annotations = _fill_boxes_and_areas(path, content)
    sizes = {image.id: (image.width or np.nan, image.height or np.nan) for image in content.images}
    keypoints = content.keypoints_image
    suspects = suspect_units(
        boxes=np.array([row.bbox for row in annotations]),
        points=np.where(keypoints[..., 2:] > 0, keypoints[..., :2], np.nan),
        sizes=np.array([sizes[row.image_id] for row in annotations]),
    )
    warn_of_units(path, suspects)
    return CocoPeople(
        images=content.images,
        category_id=content.categories[0].id,
        annotations=annotations,
        keypoints_image=convert_keypoints(content.keypoints_image, source, skeleton),
        named=np.array([name in named for name in skeleton.keypoints]),
        category_ids=frozenset(category.id for category in content.categories),
    )


def _fill_boxes_and_areas(path: Path, content: CocoContent) -> list[CocoAnnotation]:
    annotations = list(content.annotations)
    num_areas = 0
    for index, row in enumerate(annotations):
        has_area = row.area is not None and row.area > 0
        if row.bbox != NO_BOX and has_area:
            continue
        box = _box(row)
        person = LabeledPerson(row.id, row.image_id, content.keypoints_image[index], box, row.area)
        filled = {"bbox": tuple(box or box_around(person.keypoints_image) or NO_BOX), "area": area_of(person)}
        annotations[index] = row.model_copy(update=filled)
        num_areas += not has_area
    if num_areas:
        logger.warning("%s: %d people without an area above 0; 0.53 times that of their boxes counts", path, num_areas)
    return annotations


def read_coco(path: Path, skeleton: Skeleton | None = None, category: str | None = None) -> LabeledSet:
    """Read a COCO keypoint file with everything that it says, people of unknown images and lost keypoints too.

    Args:
        path: the file.
        skeleton: what the keypoints are if the file's category does not name them; COCO's if that is None too. Its
            table also completes a category that names just its keypoints.
        category: name or id of the one to read; None: the first that has keypoints, and all that have the same. People
            of others are counted in a warning.

    Raises:
        AnnotationError: naming the first entry that is missing or has another form, or if nobody has keypoints.
    """
    return parse_coco(path, read_json(path), skeleton, category)


def parse_coco(path: Path, raw: Any, skeleton: Skeleton | None = None, category: str | None = None) -> LabeledSet:
    """`read_coco` of the parsed JSON of a file; `path` is what errors call it."""
    content = parse_content(path, raw, skeleton or COCO_17, category)
    rows = content.raw["annotations"]
    first = content.categories[0]
    chosen = set(content.people)
    counts = (content.keypoints_image[..., 2] > 0).sum(1).tolist()
    others = [row for position, row in enumerate(rows) if position not in chosen]
    return LabeledSet(
        skeleton=skeleton_of(path, content.names, known=skeleton, limbs=_limbs(first, content.names)),
        category=first.name or "",
        images=[
            LabeledImage(
                image.id,
                image.file_name,
                image_size(image.width, image.height, f"{path}: image {image.id}"),
                _others(row, CocoImage.model_fields),
            )
            for image, row in zip(content.images, content.raw["images"], strict=True)
        ],
        people=[
            LabeledPerson(
                id=row.id,
                image_id=row.image_id,
                keypoints_image=keypoints,
                box=_box(row),
                area=row.area,
                is_crowd=bool(row.iscrowd),
                extra=_others(rows[position], _PERSON_FIELDS)
                | _own_count(row, num_labeled)
                | ({} if row.category_id in (None, first.id) else {"category_id": row.category_id}),
            )
            for row, keypoints, num_labeled, position in zip(
                content.annotations, content.keypoints_image, counts, content.people, strict=True
            )
        ],
        extra=_others(content.raw, ("images", "annotations")) | ({_OTHERS: others} if others else {}),
    )


def write_coco(labels: LabeledSet, path: Path) -> None:
    """Write a COCO keypoint file; what other formats say beyond COCO's fields becomes fields of the same names.

    Whoever has no box gets the one around their keypoints, and whoever has no area that of `area_of`: COCO's similarity
    needs one.
    """
    write_text(path, json.dumps(coco_content(labels, path)) + "\n")


def coco_content(labels: LabeledSet, path: Path) -> dict[str, Any]:
    """What `write_coco` writes; `path` is what warnings call it."""
    extra = dict(labels.extra)
    others = field_of(extra, _OTHERS, list[dict[str, Any]]) or []
    categories = field_of(extra, "categories", list[dict[str, Any]]) or []
    extra = _others(extra, (_OTHERS, "categories"))
    names = list(labels.skeleton.keypoints)
    category = next((row for row in categories if row.get("keypoints") == names and "id" in row), None)
    if category is None:
        category = _category(labels)
        categories = [category]
    num_areas = sum(person.area is not None and not person.area > 0 for person in labels.people)
    warn_dropped(path, num_areas, "areas that are not above 0 become 0.53 times that of the box")
    return {
        **extra,
        "images": [
            {"id": image.id, "file_name": image.file_name, **_size_fields(image), **image.extra}
            for image in labels.images
        ],
        "annotations": [*(_annotation(person, category["id"]) for person in labels.people), *others],
        "categories": categories,
    }


_OTHERS = "other_annotations"
"""Key in a set's `extra`: annotations that are not of the people who were read."""
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


def _category(labels: LabeledSet) -> dict[str, Any]:
    name = category_of_set(labels)
    return {
        "id": 1,
        "name": name,
        "supercategory": name,
        "keypoints": list(labels.skeleton.keypoints),
        "skeleton": [[start + 1, end + 1] for start, end in labels.skeleton.limb_indices],
    }


def _limbs(category: CocoCategory, names: Sequence[str]) -> list[tuple[str, str]]:
    numbers = range(1, len(names) + 1)
    pairs = category.skeleton or ()
    return [(names[start - 1], names[end - 1]) for start, end in pairs if start in numbers and end in numbers]


def _box(row: CocoAnnotation) -> Box | None:
    return None if row.bbox == NO_BOX else Box(*row.bbox)


def _size_fields(image: LabeledImage) -> dict[str, int]:
    return {} if image.size is None else {"width": image.size.width, "height": image.size.height}


def _own_count(row: CocoAnnotation, num_labeled: int) -> dict[str, int]:
    """The file's number of labeled keypoints where it is not what counting gives."""
    return {} if row.num_keypoints in (None, num_labeled) else {"num_keypoints": row.num_keypoints}


def _others(row: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The fields that we have no name for."""
    return {key: value for key, value in row.items() if key not in known}


_CROWDPOSE_FILE_NAMES = {"head_top": "head"}
_CROWDPOSE_FILE_SKELETON = Skeleton(
    name="crowdpose-file",
    keypoints=tuple(_CROWDPOSE_FILE_NAMES.get(name, name) for name in CROWDPOSE_14.keypoints),
    limbs=tuple((_CROWDPOSE_FILE_NAMES.get(start, start), end) for start, end in CROWDPOSE_14.limbs),
)
"""Keypoints as CrowdPose's files name them: "head" is our head_top."""


def read_crowdpose(path: Path, skeleton: Skeleton | None = None, category: str | None = None) -> LabeledSet:
    """Read a CrowdPose file.

    Raises:
        AnnotationError: as `read_coco`.
    """
    labels = read_coco(path, skeleton or CROWDPOSE_14, category)
    return (
        replace(labels, skeleton=CROWDPOSE_14)
        if labels.skeleton.keypoints == _CROWDPOSE_FILE_SKELETON.keypoints
        else labels
    )


def write_crowdpose(labels: LabeledSet, path: Path) -> None:
    """Write a CrowdPose file; see `write_coco`."""
    write_coco(replace(to_skeleton(labels, CROWDPOSE_14, path), skeleton=_CROWDPOSE_FILE_SKELETON), path)
